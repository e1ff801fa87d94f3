// Package grpcserver is the one gRPC server of the house: it runs the listener, and it holds what each call passes
// before a service sees it (trace, deadline, identity, fault points, decoding, declared rules) and after (metrics,
// access log, audit, recovery from panics). Health and reflection are answered here.
//
// Services do not import it. They hand their descriptor and their methods' roles to internal/app and see standard
// things only: the context with its deadline, errors of package status. Do not use it for a client, nor for HTTP, which
// is internal/httpserver's; configuration, trace and tokens are the same there.
//
//	s, err := grpcserver.New(grpcserver.DefaultConfig(), grpcserver.Deps{Service: "order"})
//	// … check err, then:
//	s.Register(grpcserver.Service{Desc: &orderpb.Orders_ServiceDesc, Impl: orders,
//		Method: func(string) grpcserver.Method { return grpcserver.Method{Role: auth.Write} }})
//	err = s.Run(ctx, func() { log.Println("serving on", s.Addr()) })
//
// # Before the message is read
//
// Trace, deadline and caller are known from the call's header. Who may not call, and who called too late, is refused
// before a byte of the message is read. A method's handler reads the message when it asks for it: one that is made by
// hand can look for room first, as the inference service does.
//
// # Deadlines
//
// A unary call's context ends at the earliest of what the caller allows (grpc-timeout) minus [Config].DeadlineMargin,
// and [Config].RequestTimeout; the message must have come by then, too. Streams have the caller's deadline, and
// [Method].Timeout if there is one; they end when the server begins to stop.
//
// # Slow clients
//
// The message of a unary call has [Config].ReadTimeout to come, from when its handler asks for it. A connection whose
// client does not take an answer within [Config].WriteTimeout is closed, since the answer's memory cannot be had back
// otherwise. Answers are never compressed, also to requests that are: gRPC would not tell when they were taken.
//
// Until a handler asks for its message, a call holds at most 64 KiB of it, however fast the connection is. Once it has
// asked, the call may hold a whole message: the bound on memory is Config.MaxMessageBytes for each call that a handler
// admits.
//
// # Calls that no handler sees
//
// What gRPC answers itself is counted, logged and audited within a second, if it is a call: one that comes after its
// deadline, whose path names no method, whose encoding is unknown. What is refused before (another content type, a
// malformed header, a header that is too long, calls beyond [Config].MaxStreams) leaves no trace here.
//
// # Whose fault it is
//
// A message that cannot be read is INVALID_ARGUMENT to the handler, to metrics and in the access log, also where gRPC
// itself tells the client INTERNAL. The text of a handler's error reaches a client only if the error is itself a status
// other than INTERNAL and UNKNOWN; everything else is logged, and found by the trailer x-request-id of each call.
//
// # Rules
//
// A message that is a proto.Message is held against the rules that its source declares (protovalidate); another one
// that has a method Validate() error is asked. What they refuse is INVALID_ARGUMENT with google.rpc.BadRequest, which
// names up to 16 violations; of a message of more than 256 elements the first alone.
//
// # Messages without protobuf
//
// A type with UnmarshalBuffers(mem.BufferSlice) error gets the bytes of the message, and one with MarshalBuffers()
// (mem.BufferSlice, error) gives them. The buffers that it gets are its own only until it returns: what is kept
// longer needs Ref, or a copy.
package grpcserver
