// Package oip is the Open Inference Protocol, version 2, as pure functions: a request in any of its forms becomes rows
// of float64, and what a model makes of them becomes an answer in the form that the request asked for. The forms are
// JSON, JSON followed by binary tensors (the binary tensor data extension), and ModelInferRequest as protobuf encodes it,
// with typed or raw contents.
//
// It knows models that take rows of numbers. Their features come in one tensor called "input", or as the model calls it, of shape [rows, features]
// or [features] for one row, or in one tensor a feature, called as the feature is, of shape [rows] or [rows, 1]. Their
// answer is one tensor called "output", or as the model calls it, of shape [rows, outputs]. It is not for models that take text or images, and it
// does no I/O: statuses, headers, streams and the models themselves are the caller's.
//
// A [Request] is kept for the next one, and then nothing is allocated but the text of an error:
//
//	err := r.ParseJSON(body, -1, oip.Limits{MaxRows: 1024, MaxInputs: 256})
//	if err == nil {
//		err = r.Bind(signature) // which needs the model
//	}
//	rows, n := r.Rows()
//	// … score n rows into outputs, then:
//	answer, header := r.AppendJSON(nil, signature, outputs)
//
// # Where it goes beyond the protocol, and where it stays behind
//
// In JSON, null in data of FP16, BF16, FP32 or FP64 is a missing value, and so is a NaN in any other form; an answer that
// JSON has no number for (NaN, infinite) is null. A number in JSON is rounded to the tensor's datatype, FP16 and BF16
// included, so that a request means the same in every form: who wants all the digits of a float64 says FP64. Integers
// beyond 2⁵³ are rounded as a conversion to float64 rounds them. A model that computes in float32 refuses what is beyond
// float32. Members that the protocol does not know are ignored, as are parameters, except those that ask for something
// that is not there (classification, shared memory): these are refused by name.
//
// # Memory
//
// Sizes are checked before memory is taken for them. A request holds at most 16 bytes for each byte of its body, plus
// about 150 for each input, of which there are at most [Limits].MaxInputs; slices may have as much room again to grow.
package oip
