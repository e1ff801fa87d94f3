package inference

import (
	"errors"

	"github.com/dougong-io/dougong/services/inference/oip"
)

// message is a request in the form that its protocol gives it. It is used again for the next one.
type message interface {
	// parse reads a whole body. It finds every fault that can be found without knowing the model.
	parse(body []byte, maxRows int) error
	// wanted is the model and the version that the request asks for.
	wanted() wanted
	// bind makes the values rows of the model.
	bind(v *served, body []byte) error
	// table is those rows, one behind another, NaN where a value is missing.
	table() (values []float64, rows int)
	// answerBytes is more than the answer takes.
	answerBytes(v *served) int
	// appendAnswer encodes the answer. header is the length of its JSON part if something follows it, else -1.
	appendAnswer(dst []byte, v *served, outputs []float64) (answer []byte, header int)
}

// wanted is what a request asks for. The strings point into its body.
type wanted struct {
	model, version       string
	hasModel, hasVersion bool
}

// protocol is how a request came, and what is known of it beside its body.
type protocol struct {
	kind   protocolKind
	target wanted // overREST: what the path names
	header int    // overREST: length of the JSON part of the body; -1: all of it
}

type protocolKind uint8

const (
	predict  protocolKind = iota // POST /v1/predict
	overREST                     // POST /v2/models/…/infer
	overGRPC                     // ModelInfer
)

func (k protocolKind) String() string { return [...]string{"predict", "rest", "grpc"}[k] }

// message is where sc keeps a request of this protocol.
func (p *protocol) message(sc *scratch) message {
	if p.kind == predict {
		return &sc.predict
	}
	sc.infer.protocol = *p
	return &sc.infer
}

// inferRequest is a request of the Open Inference Protocol.
type inferRequest struct {
	oip.Request
	protocol
}

func (r *inferRequest) reset() {
	r.Request.Reset()
	r.protocol = protocol{}
}

func (r *inferRequest) parse(body []byte, maxRows int) error {
	limits := oip.Limits{MaxRows: maxRows, MaxInputs: maxInputs}
	if r.kind == overGRPC {
		return invalid(r.ParseProto(body, limits))
	}
	return invalid(r.ParseJSON(body, r.header, limits))
}

// maxInputs is how many tensors a request may have, as the rules of open_inference.proto say; a model with more features
// takes them as one tensor.
const maxInputs = 4096

func (r *inferRequest) wanted() wanted {
	if r.kind == overREST {
		return r.target
	}
	w := wanted{model: text(r.Model()), version: text(r.Version())}
	w.hasModel, w.hasVersion = true, w.version != "" // in a protobuf, empty is absent
	return w
}

func (r *inferRequest) bind(v *served, _ []byte) error { return invalid(r.Bind(&v.signature)) }

func (r *inferRequest) table() (values []float64, rows int) { return r.Rows() }

func (r *inferRequest) answerBytes(v *served) int { return r.AnswerBytes(&v.signature) }

func (r *inferRequest) appendAnswer(dst []byte, v *served, outputs []float64) (answer []byte, header int) {
	if r.kind == overGRPC {
		return r.AppendProto(dst, &v.signature, outputs), -1
	}
	return r.AppendJSON(dst, &v.signature, outputs)
}

// invalid makes a fault that package oip finds one of the service's.
func invalid(err error) error {
	fault, ok := errors.AsType[*oip.Error](err)
	switch {
	case err == nil:
		return nil
	case ok && fault.Kind == oip.TooManyRows:
		return &badRequest{code: CodeTooManyRows, status: 413, msg: fault.Error()}
	}
	return &badRequest{code: CodeInvalidRequest, status: 400, msg: err.Error()}
}
