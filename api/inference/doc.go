// Package inferencepb is the Open Inference Protocol v2 over gRPC, the one that Triton, KServe and MLServer speak, with
// the three of Triton's extensions that its load generator asks for. It is generated from open_inference.proto and
// triton_extensions.proto; their names, numbers and types are the protocol's, their rules and comments are ours.
//
// Use it for a client, or for a server whose messages are small. The inference service reads ModelInferRequest from the
// wire itself, straight into rows, and so does without ModelInferRequest here.
//
//	conn, err := grpc.NewClient("localhost:8081", grpc.WithTransportCredentials(insecure.NewCredentials()))
//	// … check err, then:
//	client := inferencepb.NewGRPCInferenceServiceClient(conn)
//	ready, err := client.ModelReady(ctx, &inferencepb.ModelReadyRequest{Name: "loan-default"})
//	fmt.Println(ready.GetReady(), err)
package inferencepb
