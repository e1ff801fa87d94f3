// Package inference answers predictions over HTTP and gRPC: POST /v1/predict, GET /v1/models, and the Open Inference
// Protocol. docs/inference.md has the protocols; package repository says what a model must prove before it is served; package
// tree scores those of trees, and package supervisor keeps the worker processes that serve all others, with a model of trees
// as their fallback where the repository names one.
//
// It is not for training, and not for models that take anything but rows of numbers.
//
//	service, err := inference.New(inference.DefaultConfig(), inference.Deps{Models: models.Repository, Decode: decode})
//	service.Register(func(pattern, role string, h http.Handler) { mux.Handle(pattern, h) })
//	err = service.Run(ctx) // loads the models, then serves until ctx ends
package inference
