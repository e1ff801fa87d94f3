package inferenceclient

import (
	"context"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// ServerMetadata describes a server.
type ServerMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// ModelMetadata describes a model.
type ModelMetadata struct {
	Name       string            `json:"name"`
	Versions   []string          `json:"versions"`
	Platform   string            `json:"platform"`
	Inputs     []TensorMetadata  `json:"inputs"`
	Outputs    []TensorMetadata  `json:"outputs"`
	Properties map[string]string `json:"properties"`
}

// TensorMetadata describes an input or an output.
type TensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"` // -1: any size
}

// ServerLive tells whether one of the servers, the next in turn, is alive. An error is an [*Error].
func (c *Client) ServerLive(ctx context.Context) (bool, error) {
	return ask(ctx, c, "server live", func(ctx context.Context, w wire, h *head) (bool, *Error) { return w.live(ctx, h) })
}

// ServerReady tells whether one of the servers, the next in turn, serves all that it should. An error is an [*Error].
func (c *Client) ServerReady(ctx context.Context) (bool, error) {
	return ask(ctx, c, "server ready", func(ctx context.Context, w wire, h *head) (bool, *Error) { return w.ready(ctx, h) })
}

// ModelReady tells whether a model can be asked; version "" is the one that the server chooses. An error is an
// [*Error]; for a model that is unknown it is ErrNotFound (with some servers ErrInvalid).
func (c *Client) ModelReady(ctx context.Context, model, version string) (bool, error) {
	return ask(ctx, c, "model ready "+model, func(ctx context.Context, w wire, h *head) (bool, *Error) {
		return w.modelReady(ctx, h, model, version)
	})
}

// ServerMetadata describes one of the servers, the next in turn. An error is an [*Error].
func (c *Client) ServerMetadata(ctx context.Context) (*ServerMetadata, error) {
	return ask(ctx, c, "server metadata", func(ctx context.Context, w wire, h *head) (*ServerMetadata, *Error) { return w.metadata(ctx, h) })
}

// ModelMetadata describes a model; version "" is the one that the server chooses. An error is an [*Error].
func (c *Client) ModelMetadata(ctx context.Context, model, version string) (*ModelMetadata, error) {
	return ask(ctx, c, "model metadata "+model, func(ctx context.Context, w wire, h *head) (*ModelMetadata, *Error) {
		return w.modelMetadata(ctx, h, model, version)
	})
}

// ask makes a call that is not hedged.
func ask[T any](ctx context.Context, c *Client, what string, run func(context.Context, wire, *head) (T, *Error)) (T, error) {
	answer, _, failed := do(ctx, c, operation[T]{call: what, run: run})
	if failed != nil {
		return answer, failed
	}
	return answer, nil
}

func tensorsOf(from []*inferencepb.ModelMetadataResponse_TensorMetadata) []TensorMetadata {
	to := make([]TensorMetadata, len(from))
	for i, t := range from {
		to[i] = TensorMetadata{Name: t.GetName(), Datatype: t.GetDatatype(), Shape: t.GetShape()}
	}
	return to
}
