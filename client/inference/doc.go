// Package inferenceclient calls servers of the Open Inference Protocol v2, such as Dougong, Triton, KServe and MLServer, over
// REST or gRPC: the scheme of the URL picks. The package is not called inference, since a program that serves and
// calls, or that uses the generated messages as well, has those names already.
//
// Every call has a deadline. What may help is tried again, on another server if there are several, within a budget
// that keeps retries from multiplying an outage; each server has a circuit (kit/breaker). Errors mean the same over
// both protocols.
//
// Do not use it for models that change state by being called, since a call may reach them twice; for streams of
// answers, which the protocol does not have; nor for shared memory.
//
//	config := inferenceclient.DefaultConfig()
//	config.URLs = []string{"grpc://localhost:8081"}
//	client, err := inferenceclient.New(config)
//	// … check err, then:
//	defer client.Close()
//	outputs, err := client.Predict(ctx, "loan-mini", [][]float64{{0.1, 0.9}})
package inferenceclient
