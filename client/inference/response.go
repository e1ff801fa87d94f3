package inferenceclient

import (
	"fmt"
	"math"
	"time"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// Response is what a model answered. It owns its memory.
type Response struct {
	Model, Version string // as the server says
	ID             string
	Outputs        []Tensor

	Queue, Compute time.Duration // that the server says it took; 0: it does not say (Dougong does)
	Endpoint       string        // URL of the server that answered
	Attempts       int           // made by the call
}

// Values returns an output by its name, with its shape. T must be the Go type of its datatype. The slices are the
// response's own.
func Values[T Element](r *Response, name string) (values []T, shape []int, err error) {
	t, err := r.output(name)
	if err != nil {
		return nil, nil, err
	}
	values, ok := t.values.([]T)
	if !ok {
		return nil, nil, fmt.Errorf("%w: output %q is %s, not %s", ErrInvalid, name, t.datatype, datatypeOf(values))
	}
	return values, t.shape, nil
}

// Float32s returns an output of FP32, FP16 or BF16, with its shape.
func (r *Response) Float32s(name string) (values []float32, shape []int, err error) {
	t, err := r.output(name)
	if err != nil {
		return nil, nil, err
	}
	switch v := t.values.(type) {
	case []float32:
		return v, t.shape, nil
	case []Float16:
		return widen[float32](v), t.shape, nil
	case []BFloat16:
		return widen[float32](v), t.shape, nil
	}
	return nil, nil, fmt.Errorf("%w: output %q is %s, which float32 cannot hold", ErrInvalid, name, t.datatype)
}

// Float64s returns an output of FP64, FP32, FP16 or BF16, with its shape.
func (r *Response) Float64s(name string) (values []float64, shape []int, err error) {
	t, err := r.output(name)
	if err != nil {
		return nil, nil, err
	}
	switch v := t.values.(type) {
	case []float64:
		return v, t.shape, nil
	case []float32:
		values = make([]float64, len(v))
		for i, x := range v {
			values[i] = float64(x)
		}
		return values, t.shape, nil
	case []Float16:
		return widen[float64](v), t.shape, nil
	case []BFloat16:
		return widen[float64](v), t.shape, nil
	}
	return nil, nil, fmt.Errorf("%w: output %q is %s, which is no float", ErrInvalid, name, t.datatype)
}

func widen[To float32 | float64, From interface{ Float32() float32 }](from []From) []To {
	to := make([]To, len(from))
	for i, x := range from {
		to[i] = To(x.Float32())
	}
	return to
}

func (r *Response) output(name string) (*Tensor, error) {
	for i := range r.Outputs {
		if r.Outputs[i].name == name {
			return &r.Outputs[i], nil
		}
	}
	names := make([]string, len(r.Outputs))
	for i := range r.Outputs {
		names[i] = r.Outputs[i].name
	}
	return nil, fmt.Errorf("%w: there is no output %q, but %.256q", ErrInvalid, name, names)
}

// shapeOf is a shape off the wire, and how many elements it has.
func shapeOf(sizes []int64) (shape []int, count int, err error) {
	shape = make([]int, len(sizes))
	for i, size := range sizes {
		if size < 0 || size > math.MaxInt32 {
			return nil, 0, fmt.Errorf("shape %.64v has a size that cannot be", sizes)
		}
		shape[i] = int(size)
	}
	count, err = elements(shape)
	return shape, count, err
}

// parseProto makes a response of a message.
func parseProto(p *inferencepb.ModelInferResponse) (*Response, error) {
	r := &Response{Model: p.GetModelName(), Version: p.GetModelVersion(), ID: p.GetId(), Outputs: make([]Tensor, len(p.GetOutputs()))}
	raw := p.GetRawOutputContents()
	if len(raw) > 0 && len(raw) != len(r.Outputs) {
		return nil, fmt.Errorf("%d raw contents for %d outputs", len(raw), len(r.Outputs))
	}
	for i, o := range p.GetOutputs() {
		shape, count, err := shapeOf(o.GetShape())
		if err != nil {
			return nil, fmt.Errorf("output %.64q: %w", o.GetName(), err)
		}
		var values any
		if len(raw) > 0 {
			values, err = parseRaw(o.GetDatatype(), raw[i], count)
		} else {
			values, err = parseContents(o.GetDatatype(), o.GetContents(), count)
		}
		if err != nil {
			return nil, fmt.Errorf("output %.64q: %w", o.GetName(), err)
		}
		r.Outputs[i] = Tensor{name: o.GetName(), datatype: o.GetDatatype(), shape: shape, values: values}
	}
	return r, nil
}

// parseContents takes the values of a tensor out of the field that fits its datatype.
func parseContents(datatype string, c *inferencepb.InferTensorContents, count int) (values any, err error) {
	n := 0
	switch datatype {
	case "BOOL":
		values, n = kept(c.GetBoolContents())
	case "INT8":
		values, n, err = narrow[int8](c.GetIntContents())
	case "INT16":
		values, n, err = narrow[int16](c.GetIntContents())
	case "INT32":
		values, n = kept(c.GetIntContents())
	case "INT64":
		values, n = kept(c.GetInt64Contents())
	case "UINT8":
		values, n, err = narrow[uint8](c.GetUintContents())
	case "UINT16":
		values, n, err = narrow[uint16](c.GetUintContents())
	case "UINT32":
		values, n = kept(c.GetUintContents())
	case "UINT64":
		values, n = kept(c.GetUint64Contents())
	case "FP32":
		values, n = kept(c.GetFp32Contents())
	case "FP64":
		values, n = kept(c.GetFp64Contents())
	case "BYTES":
		texts := make([]string, len(c.GetBytesContents()))
		for i, b := range c.GetBytesContents() {
			texts[i] = string(b)
		}
		values, n = texts, len(texts)
	default:
		return nil, fmt.Errorf("no contents are those of datatype %.32q", datatype)
	}
	if err == nil && n != count {
		err = fmt.Errorf("contents have %d values, and the shape %d", n, count)
	}
	return values, err
}

func kept[T any](values []T) (any, int) {
	if values == nil {
		values = []T{}
	}
	return values, len(values)
}

func narrow[To int8 | int16 | uint8 | uint16, From int32 | uint32](from []From) (any, int, error) {
	to := make([]To, len(from))
	for i, x := range from {
		if to[i] = To(x); From(to[i]) != x {
			return nil, 0, fmt.Errorf("value %d, %d, is out of range", i, x)
		}
	}
	return to, len(to), nil
}
