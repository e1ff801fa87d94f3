package inference

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
	target wanted // of the kinds that say it outside of the body
	header int    // protocolREST: length of the JSON part of the body; -1: all of it
}

type protocolKind uint8

const (
	protocolPredict protocolKind = iota // POST /v1/predict
)

// message is where sc keeps a request of this protocol.
func (p *protocol) message(sc *scratch) message {
	return &sc.predict
}
