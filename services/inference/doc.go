// Package inference answers predictions of tree models over HTTP: POST /v1/predict, GET /v1/models.
// docs/inference.md has the protocol; package repository says what a model must prove before it is
// served; package tree scores it.
//
// It is not for training, and not for models other than tree ensembles.
//
//	service, err := inference.New(inference.DefaultConfig(), inference.Deps{Models: models.Repository, Decode: decode})
//	service.Register(func(pattern, role string, h http.Handler) { mux.Handle(pattern, h) })
//	err = service.Run(ctx) // loads the models, then serves until ctx ends
package inference
