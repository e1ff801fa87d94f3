// Package grpcmw puts the joints of the kit into gRPC: interceptors for servers and clients, unary and streams, and
// tuned connections. A limit, a ramp and a breaker take part in each call, a fallback in the unary calls of a client.
//
// A stream is one call, from its beginning to its end: one slot of a limit, one result of a breaker. What is refused
// has the status UNAVAILABLE (breaker, ramp) or RESOURCE_EXHAUSTED (limit), with RetryInfo; a server adds the trailer
// grpc-retry-pushback-ms, which gRPC's own retries obey.
//
// With [WithFaults] calls and the messages of streams pass fault points, beneath the joints.
//
// Do not use it to retry, nor inside gRPC's own retries: these are below interceptors, so that a breaker sees one call
// and its last result. Do not put endless streams and short calls behind one limit.
//
//	g, err := breaker.New[grpcmw.Call](breaker.DefaultPolicy())
//	unary, stream := grpcmw.ClientInterceptors(grpcmw.WithBreaker(g, grpcmw.ByMethod))
//	options, err := grpcmw.DefaultClientConfig().DialOptions()
//	conn, err := grpc.NewClient("dns:///stock:8081", append(options, credentials,
//		grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream))...)
package grpcmw
