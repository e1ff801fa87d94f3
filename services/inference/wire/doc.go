// Package wire is version 1 of the protocol between the inference service and its workers, as pure functions over
// byte slices: frames, tensors, the messages of the control socket. docs/worker-protocol.md tells the rules of the
// conversation; this package knows how each of its words is spelt, and refuses what is spelt wrong.
//
// Nothing is believed before it is checked: lengths, counts, ranks, names, and the product of the dimensions, which
// must not overflow. What is refused is an [ErrBreach] that says what and where. Parsing allocates nothing once a
// [Call] or an [Answer] has been used: names and data are views into the frame, which must stay as it is while they
// are looked at.
//
// Do not use it between machines (there is neither a checksum nor a byte order to choose), nor as a format of files.
//
//	frame := call.Append(nil, 7)                       // the whole frame of a CALL with the id 7
//	header, body, err := reader.Next()                 // a wire.Reader over the lane
//	if header.Type == wire.TypeAnswer && header.ID == 7 {
//		err = answer.Parse(body)                       // answer.Outputs are views into body
//	}
package wire
