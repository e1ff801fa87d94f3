package oip

import (
	"cmp"
	"strings"
)

const (
	// InputName is the tensor that has all features, of a model that has no name of its own for it.
	InputName = "input"
	// OutputName is the tensor of the answer, likewise.
	OutputName = "output"
)

// Signature is what the protocol has to know of a model. It is not changed once it is in use, and then safe for
// concurrent use.
type Signature struct {
	Model, Version string
	Features       []string                      // in the order of a row; at least one
	Column         func(name string) (int, bool) // a feature's place in a row; must not keep the name
	Outputs        int                           // values that a row is answered with; at least one
	Datatype       Datatype                      // FP32 or FP64: that of the answer, in which the model computes
	Input, Output  string                        // names of the tensors; "": InputName and OutputName
}

func (sig *Signature) input() string  { return cmp.Or(sig.Input, InputName) }
func (sig *Signature) output() string { return cmp.Or(sig.Output, OutputName) }

// firstNames lists the features as far as a person reads them.
func (sig *Signature) firstNames() string {
	const most = 8
	var b strings.Builder
	for i, name := range sig.Features {
		if i == most {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		short, all := clip([]byte(name))
		b.Write(short)
		if !all {
			b.WriteString("…")
		}
	}
	return b.String()
}
