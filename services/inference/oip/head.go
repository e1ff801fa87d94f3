package oip

import (
	"bytes"
	"slices"
	"unsafe"

	"github.com/dougong-io/dougong/services/inference/jsonscan"
)

// A JSON of at most so many bytes and tensors in front of binary data is kept with what was read of it: a client sends the
// same one again and again, only the tensors differ.
const (
	maxHead       = 1 << 10
	maxHeadInputs = 4
)

// head is the JSON of a request before this one. Its slices point into text.
type head struct {
	text   []byte
	limits Limits // of a text that may be used again; zero: this one may not

	inputs       []input
	id           []byte
	binaryOutput bool
	outputBinary choice
	output       []byte
	selected     bool
}

func (h *head) poolBytes() int { return cap(h.text) + cap(h.inputs)*int(unsafe.Sizeof(input{})) }

// parseHead reads the JSON in front of binary data.
func (r *Request) parseHead(text []byte) error {
	h := &r.head
	if h.limits == r.limits && bytes.Equal(h.text, text) {
		r.inputs = append(r.inputs, h.inputs...)
		r.id, r.binaryOutput, r.outputBinary = h.id, h.binaryOutput, h.outputBinary
		r.output, r.selected = h.output, h.selected
		return nil
	}
	if len(text) > maxHead {
		return r.parseText(text)
	}
	h.limits = Limits{}
	h.text = append(h.text[:0], text...)
	if err := r.parseText(h.text); err != nil {
		return err
	}
	if len(r.numbers) > 0 || len(r.inputs) > maxHeadInputs {
		return nil
	}
	h.limits, h.inputs = r.limits, append(slices.Grow(h.inputs[:0], len(r.inputs)), r.inputs...)
	h.id, h.binaryOutput, h.outputBinary = r.id, r.binaryOutput, r.outputBinary
	h.output, h.selected = r.output, r.selected
	return nil
}

// parseText reads a JSON.
func (r *Request) parseText(text []byte) error {
	s := jsonscan.New(text)
	s.NaN = true // tritonclient writes it
	return malformed("the body is not an inference request", r.document(&s))
}
