package wire

import (
	"encoding/binary"
	"math"
	"time"
)

// CallBytes come before the tensors in the body of a CALL.
const CallBytes = 40

// Call is what a worker is asked on a lane. The zero value is empty and can be parsed into, again and again.
type Call struct {
	Timeout time.Duration // time left when it was sent, in whole microseconds. 0: none is set; less: none is left
	Trace   [16]byte      // of W3C Trace Context; zero: none
	Span    [8]byte       // that of the caller
	Flags   byte          // of the trace
	Inputs  []Tensor

	arena arena
}

// BodyBytes is the length of the body, which the caller holds against what a frame may have.
func (c *Call) BodyBytes() int { return CallBytes + bodyBytes(c.Inputs) }

// Append appends the whole frame. Nothing is checked; see Tensor.Check.
func (c *Call) Append(b []byte, id uint64) []byte {
	return appendTensors(c.AppendHead(b, id, c.BodyBytes()), c.Inputs)
}

// AppendHead appends what comes before the first tensor: the frame's header and the first CallBytes of its body, which
// will have body bytes in all. A caller that writes the data of a tensor itself, in pieces, goes on with
// Tensor.AppendHead, the data, and AppendPadding; the data of Inputs is not looked at. It adds CallBytes and, for each
// tensor, Tensor.HeadBytes, the length of its data and its Padding to know body.
func (c *Call) AppendHead(b []byte, id uint64, body int) []byte {
	b = AppendHeader(b, Header{Type: TypeCall, ID: id, Length: uint32(body)})
	b = binary.LittleEndian.AppendUint64(b, microseconds(c.Timeout))
	b = append(b, c.Trace[:]...)
	b = append(b, c.Span[:]...)
	b = append(b, c.Flags, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.Inputs)))
	return binary.LittleEndian.AppendUint32(b, 0)
}

// microseconds of a time that is set are never 0, which would say that none is.
func microseconds(timeout time.Duration) uint64 {
	switch {
	case timeout == 0:
		return 0
	case timeout < time.Microsecond:
		return 1
	}
	return uint64(timeout / time.Microsecond)
}

// Parse reads the body of a CALL. On an error the call is of no use, but may be parsed into again.
func (c *Call) Parse(body []byte) error {
	const part = "CALL"
	if len(body) < CallBytes {
		return breach(part, len(body), "ends before its tensors")
	}
	timeout := binary.LittleEndian.Uint64(body)
	if timeout > math.MaxInt64/uint64(time.Microsecond) {
		return breach(part, 0, "%d microseconds are left, which no clock counts", timeout)
	}
	if body[33] != 0 || !zeros(body[36:40]) {
		return breach(part, 33, "reserved bytes are not zero")
	}
	c.Timeout = time.Duration(timeout) * time.Microsecond
	copy(c.Trace[:], body[8:])
	copy(c.Span[:], body[24:])
	c.Flags = body[32]
	inputs, err := c.arena.parse(part, body, CallBytes, int(binary.LittleEndian.Uint16(body[34:])), c.Inputs)
	if err != nil {
		return err
	}
	c.Inputs = inputs
	return nil
}
