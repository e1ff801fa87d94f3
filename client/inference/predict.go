package inferenceclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
)

// Predict asks a model that takes one tensor of floats with a row of features for each prediction, such as a tree
// model: it returns a row of outputs for each row. Name and datatype of the tensor are those of the model's metadata,
// for which it asks once. NaN is a missing value.
func (c *Client) Predict(ctx context.Context, model string, rows [][]float64) ([][]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout) // for both calls
	defer cancel()
	input, err := c.forms.of(ctx, c, model)
	if err != nil {
		return nil, err
	}
	t, err := tabular(input, rows)
	if err != nil {
		return nil, &Error{Call: "infer " + model, Kind: ErrInvalid, cause: err}
	}
	answer, err := c.Infer(ctx, Request{Model: model, Inputs: []Tensor{t}})
	if err != nil {
		if errors.Is(err, ErrInvalid) || errors.Is(err, ErrNotFound) {
			c.forms.forget(model) // it may be another one by now
		}
		return nil, err
	}
	outputs, err := answer.rows(len(rows))
	if err != nil {
		return nil, &Error{Call: "infer " + model, Endpoint: answer.Endpoint, Kind: ErrProtocol, Attempts: answer.Attempts, cause: err}
	}
	return outputs, nil
}

// tabular makes rows one tensor.
func tabular(input TensorMetadata, rows [][]float64) (Tensor, error) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return Tensor{}, errors.New("there are no rows, or no features in them")
	}
	features := len(rows[0])
	for i, row := range rows {
		if len(row) != features {
			return Tensor{}, fmt.Errorf("row %d has %d features, and row 0 has %d", i, len(row), features)
		}
	}
	if input.Datatype == "FP32" {
		for i, row := range rows {
			for j, x := range row {
				if math.IsInf(float64(float32(x)), 0) {
					return Tensor{}, fmt.Errorf("row %d, feature %d: %v is beyond float32, in which the model computes", i, j, x)
				}
			}
		}
		return NewTensor(input.Name, flat[float32](rows), len(rows), features), nil
	}
	return NewTensor(input.Name, flat[float64](rows), len(rows), features), nil
}

func flat[T float32 | float64](rows [][]float64) []T {
	values := make([]T, 0, len(rows)*len(rows[0]))
	for _, row := range rows {
		for _, x := range row {
			values = append(values, T(x))
		}
	}
	return values
}

// rows are those of the only output.
func (r *Response) rows(n int) ([][]float64, error) {
	if len(r.Outputs) != 1 {
		return nil, fmt.Errorf("the model has %d outputs, and Predict takes one: use Infer", len(r.Outputs))
	}
	values, shape, err := r.Float64s(r.Outputs[0].name)
	if err != nil {
		return nil, err
	}
	if len(shape) == 0 || shape[0] != n {
		return nil, fmt.Errorf("the output has shape %v for %d rows", shape, n)
	}
	width := len(values) / n
	outputs := make([][]float64, n)
	for i := range outputs {
		outputs[i] = values[i*width : (i+1)*width : (i+1)*width]
	}
	return outputs, nil
}

// forms remembers the input of models.
type forms struct {
	mu     sync.Mutex
	inputs map[string]TensorMetadata
}

const maxForms = 1024

func (f *forms) of(ctx context.Context, c *Client, model string) (TensorMetadata, error) {
	f.mu.Lock()
	input, known := f.inputs[model]
	f.mu.Unlock()
	if known {
		return input, nil
	}
	m, err := c.ModelMetadata(ctx, model, "")
	if err != nil {
		return TensorMetadata{}, err
	}
	if len(m.Inputs) != 1 || m.Inputs[0].Datatype != "FP32" && m.Inputs[0].Datatype != "FP64" {
		return TensorMetadata{}, &Error{Call: "infer " + model, Kind: ErrInvalid, cause: fmt.Errorf("its inputs are %v, and Predict takes one of FP32 or FP64: use Infer", m.Inputs)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inputs == nil || len(f.inputs) >= maxForms {
		f.inputs = map[string]TensorMetadata{}
	}
	f.inputs[model] = m.Inputs[0]
	return m.Inputs[0], nil
}

func (f *forms) forget(model string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.inputs, model)
}
