package inferenceclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// Request asks a model.
type Request struct {
	Model      string
	Version    string         // "": the one that the server chooses
	ID         string         // comes back in the answer, and is the X-Request-Id of all attempts; "": that one is random
	Inputs     []Tensor       // at least one
	Outputs    []string       // by name; none: all that the model has
	Parameters map[string]any // bool, int, int64, float64 or string
}

// check reports every fault at once.
func (r *Request) check() error {
	var errs []error
	if r.Model == "" {
		errs = append(errs, errors.New("no model is named"))
	}
	if len(r.Inputs) == 0 {
		errs = append(errs, errors.New("there is no input"))
	}
	for i := range r.Inputs {
		if err := r.Inputs[i].check(); err != nil {
			errs = append(errs, err)
		}
	}
	for name, value := range r.Parameters {
		switch v := value.(type) {
		case bool, int, int64, string:
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				errs = append(errs, fmt.Errorf("parameter %q is %v", name, v))
			}
		default:
			errs = append(errs, fmt.Errorf("parameter %q is of type %T, and must be bool, int, int64, float64 or string", name, v))
		}
	}
	return errors.Join(errs...)
}

// message is a request as it is sent, by each attempt again. It shares no memory with the request that may change: an
// attempt that lost may still be sending it when Infer has returned.
type message struct {
	model, version, id string
	body               []byte // of REST
	header             int    // length of the JSON in it; -1: all of it
	proto              *inferencepb.ModelInferRequest
}

// binaryOutput is the parameter that asks for all outputs in binary.
const binaryOutput = "binary_data_output"

func (r *Request) overREST(inJSON bool) (*message, error) {
	m := &message{model: r.Model, version: r.Version, id: r.ID, header: -1}
	size := 64 + len(r.ID)
	for i := range r.Inputs {
		t := &r.Inputs[i]
		size += 96 + len(t.name)
		if inJSON {
			size += 12 * t.length()
		} else {
			size += t.rawSize()
		}
	}
	b := append(make([]byte, 0, size), '{')
	if r.ID != "" {
		b = append(appendString(append(b, `"id":`...), r.ID), ',')
	}
	b = r.appendParameters(b, inJSON)
	b = append(b, `"inputs":[`...)
	for i := range r.Inputs {
		t := &r.Inputs[i]
		b = appendString(append(b, `{"name":`...), t.name)
		b = append(append(append(b, `,"datatype":"`...), t.datatype...), `","shape":[`...)
		for _, size := range t.shape {
			b = append(strconv.AppendInt(b, int64(size), 10), ',')
		}
		if len(t.shape) > 0 {
			b = b[:len(b)-1]
		}
		if inJSON {
			var err error
			if b, err = t.appendJSON(append(b, `],"data":`...)); err != nil {
				return nil, err
			}
			b = append(b, `},`...)
			continue
		}
		b = strconv.AppendInt(append(b, `],"parameters":{"binary_data_size":`...), int64(t.rawSize()), 10)
		b = append(b, `}},`...)
	}
	b[len(b)-1] = ']'
	b = r.appendOutputs(b, inJSON)
	b = append(b, '}')
	if !inJSON {
		m.header = len(b)
		for i := range r.Inputs {
			b = r.Inputs[i].appendRaw(b)
		}
	}
	m.body = b
	return m, nil
}

func (r *Request) appendParameters(b []byte, inJSON bool) []byte {
	_, said := r.Parameters[binaryOutput]
	ask := !inJSON && !said && len(r.Outputs) == 0
	if len(r.Parameters) == 0 && !ask {
		return b
	}
	b = append(b, `"parameters":{`...)
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		value, _ := json.Marshal(r.Parameters[name]) // check has seen them
		b = append(append(append(appendString(b, name), ':'), value...), ',')
	}
	if ask {
		b = append(b, `"`+binaryOutput+`":true,`...)
	}
	b[len(b)-1] = '}'
	return append(b, ',')
}

func (r *Request) appendOutputs(b []byte, inJSON bool) []byte {
	if len(r.Outputs) == 0 {
		return b
	}
	b = append(b, `,"outputs":[`...)
	for _, name := range r.Outputs {
		b = appendString(append(b, `{"name":`...), name)
		if !inJSON {
			b = append(b, `,"parameters":{"binary_data":true}`...)
		}
		b = append(b, `},`...)
	}
	b[len(b)-1] = ']'
	return b
}

func (r *Request) overGRPC() *message {
	p := &inferencepb.ModelInferRequest{ModelName: r.Model, ModelVersion: r.Version, Id: r.ID}
	p.Inputs = make([]*inferencepb.ModelInferRequest_InferInputTensor, len(r.Inputs))
	p.RawInputContents = make([][]byte, len(r.Inputs))
	for i := range r.Inputs {
		t := &r.Inputs[i]
		shape := make([]int64, len(t.shape))
		for j, size := range t.shape {
			shape[j] = int64(size)
		}
		p.Inputs[i] = &inferencepb.ModelInferRequest_InferInputTensor{Name: t.name, Datatype: t.datatype, Shape: shape}
		p.RawInputContents[i] = t.appendRaw(make([]byte, 0, t.rawSize()))
	}
	for _, name := range r.Outputs {
		p.Outputs = append(p.Outputs, &inferencepb.ModelInferRequest_InferRequestedOutputTensor{Name: name})
	}
	if len(r.Parameters) > 0 {
		p.Parameters = make(map[string]*inferencepb.InferParameter, len(r.Parameters))
	}
	for name, value := range r.Parameters {
		p.Parameters[name] = parameterOf(value)
	}
	return &message{model: r.Model, version: r.Version, id: r.ID, proto: p}
}

func parameterOf(value any) *inferencepb.InferParameter {
	p := &inferencepb.InferParameter{}
	switch v := value.(type) {
	case bool:
		p.ParameterChoice = &inferencepb.InferParameter_BoolParam{BoolParam: v}
	case int:
		p.ParameterChoice = &inferencepb.InferParameter_Int64Param{Int64Param: int64(v)}
	case int64:
		p.ParameterChoice = &inferencepb.InferParameter_Int64Param{Int64Param: v}
	case float64:
		p.ParameterChoice = &inferencepb.InferParameter_DoubleParam{DoubleParam: v}
	case string:
		p.ParameterChoice = &inferencepb.InferParameter_StringParam{StringParam: v}
	}
	return p
}
