// Package problem writes and reads the problem documents of RFC 9457, which is how our own HTTP APIs answer
// when they do not do what was asked.
//
// Do not use it where a protocol defines its own errors (the Open Inference Protocol, gRPC), nor for a
// success with warnings.
//
// A client branches on Code, which never changes once published; Title and Detail are for people.
//
//	problem.Write(w, &problem.Problem{
//		Status: http.StatusConflict,
//		Code:   "out_of_stock",
//		Detail: "0 of sku 4711 are left, 2 were asked for",
//	})
package problem
