// Package faulthttp has fault points where HTTP passes: around a client's [http.RoundTripper], and before a server's
// [http.Handler].
//
// Use it where a program speaks HTTP to something that can fail, or is spoken to. Do not wrap a transport twice: both
// wrappers would be struck. The caller declares the points, so that their names say what is at the other end:
//
//	var bank = fault.Def{Name: "bank.http", Doc: "The bank is asked.", Attrs: []string{"method", "host", "path"}, Effects: fault.Bytes}
//	// …
//	client := &http.Client{Transport: faulthttp.Transport(http.DefaultTransport, faulthttp.Points{Exchange: set.Point(bank)})}
//
// A point tells "method", "host" and "path", on a server also "route", the pattern that matched if the handler is
// below a mux; and what Points.Attrs adds.
package faulthttp
