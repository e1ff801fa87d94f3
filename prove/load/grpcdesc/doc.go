// Package grpcdesc knows the types of a gRPC method without generated code: it turns JSON into the bytes that the
// method takes, and the bytes it answers with into JSON.
//
// Types come from a descriptor set, or from the server's reflection service:
//
//	m, err := grpcdesc.FromServer(ctx, conn, "pkg.Service/Method") // or FromFile("set.binpb", …)
//	in, err := m.Encode([]byte(`{"name": "x"}`), nil)
//	var out []byte
//	err = conn.Invoke(ctx, m.FullName(), in, &out, grpc.ForceCodecV2(grpcdesc.Codec()))
//	answer, err := m.DecodeJSON(out)
//
// A load generator encodes before the request is due and sends plain bytes, so that neither JSON nor dynamic
// messages cost anything while the clock runs; Codec is for that. Streams work the same way with conn.NewStream,
// ServerStream and ClientStream.
//
// JSON is the JSON form of Protocol Buffers (protobuf.dev/programming-guides/json): names in lowerCamelCase or as in
// the .proto file, 64-bit integers as strings, bytes in base64. Answers come with lowerCamelCase names, and with the
// fields that hold their default, so that a check can ask for zero.
//
// Not for programs that know their messages when they are compiled: generated code is faster and is checked by the
// compiler. Extensions of proto2 messages are known from a descriptor set only, not from reflection.
package grpcdesc
