package wire

import (
	"encoding/binary"
	"math"
	"time"
)

// AnswerBytes come before the tensors in the body of an ANSWER.
const AnswerBytes = 8

// Answer is what a worker says to a call. The zero value is empty and can be parsed into, again and again.
type Answer struct {
	Compute time.Duration // that the engine computed, in whole microseconds; at most 71 minutes can be told
	Outputs []Tensor

	arena arena
}

// BodyBytes is the length of the body, which the caller holds against what a frame may have.
func (a *Answer) BodyBytes() int { return AnswerBytes + bodyBytes(a.Outputs) }

// Append appends the whole frame. Nothing is checked; see Tensor.Check.
func (a *Answer) Append(b []byte, id uint64) []byte {
	b = AppendHeader(b, Header{Type: TypeAnswer, ID: id, Length: uint32(a.BodyBytes())})
	b = append(b, make([]byte, AnswerBytes)...)
	PutAnswerHead(b[len(b)-AnswerBytes:], a.Compute, len(a.Outputs))
	return appendTensors(b, a.Outputs)
}

// PutAnswerHead writes the first AnswerBytes of a body, for who puts an answer together by hand.
func PutAnswerHead(b []byte, compute time.Duration, tensors int) {
	_ = b[AnswerBytes-1]
	binary.LittleEndian.PutUint32(b, uint32(min(max(compute.Microseconds(), 0), math.MaxUint32)))
	binary.LittleEndian.PutUint16(b[4:], uint16(tensors))
	binary.LittleEndian.PutUint16(b[6:], 0)
}

// Parse reads the body of an ANSWER. On an error the answer is of no use, but may be parsed into again.
func (a *Answer) Parse(body []byte) error {
	const part = "ANSWER"
	if len(body) < AnswerBytes {
		return breach(part, len(body), "ends before its tensors")
	}
	if !zeros(body[6:8]) {
		return breach(part, 6, "reserved bytes are not zero")
	}
	a.Compute = time.Duration(binary.LittleEndian.Uint32(body)) * time.Microsecond
	outputs, err := a.arena.parse(part, body, AnswerBytes, int(binary.LittleEndian.Uint16(body[4:])), a.Outputs)
	if err != nil {
		return err
	}
	a.Outputs = outputs
	return nil
}
