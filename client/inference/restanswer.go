package inferenceclient

import (
	"encoding/json"
	"fmt"
)

// restAnswer is the JSON of an answer to infer.
type restAnswer struct {
	ModelName    string       `json:"model_name"`
	ModelVersion string       `json:"model_version"`
	ID           string       `json:"id"`
	Outputs      []restOutput `json:"outputs"`
}

type restOutput struct {
	Name       string  `json:"name"`
	Datatype   string  `json:"datatype"`
	Shape      []int64 `json:"shape"`
	Parameters struct {
		BinaryDataSize *int64 `json:"binary_data_size"`
	} `json:"parameters"`
	Data json.RawMessage `json:"data"`
}

// parseAnswer makes a response of a body, of which the first header bytes are JSON, all of it if header is -1. The
// response shares no memory with the body, and takes a small multiple of it at most.
func parseAnswer(body []byte, header int) (*Response, error) {
	var rest []byte
	if header >= 0 {
		if header > len(body) {
			return nil, fmt.Errorf("the header says %d bytes of JSON, and the answer has %d", header, len(body))
		}
		body, rest = body[:header], body[header:]
	}
	var a restAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	r := &Response{Model: a.ModelName, Version: a.ModelVersion, ID: a.ID, Outputs: make([]Tensor, len(a.Outputs))}
	for i := range a.Outputs {
		o := &a.Outputs[i]
		shape, count, err := shapeOf(o.Shape)
		if err != nil {
			return nil, fmt.Errorf("output %.64q: %w", o.Name, err)
		}
		var values any
		if size := o.Parameters.BinaryDataSize; size != nil {
			if *size < 0 || *size > int64(len(rest)) {
				return nil, fmt.Errorf("output %.64q: binary_data_size is %d, and %d bytes are left", o.Name, *size, len(rest))
			}
			values, err = parseRaw(o.Datatype, rest[:*size], count)
			rest = rest[*size:]
		} else {
			values, err = parseJSON(o.Datatype, o.Data, count)
		}
		if err != nil {
			return nil, fmt.Errorf("output %.64q: %w", o.Name, err)
		}
		r.Outputs[i] = Tensor{name: o.Name, datatype: o.Datatype, shape: shape, values: values}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the last output", len(rest))
	}
	return r, nil
}
