package wire

import (
	"encoding/binary"
	"fmt"
)

// Version is the one that this package speaks.
const Version = 1

// Bounds of a frame.
const (
	HeaderBytes     = 24      // before each body
	MaxControlBytes = 1 << 20 // of a body on the control socket, in either direction
)

// Type is that of a frame.
type Type uint8

// The types of frames. Those below 16 travel on the control socket, the others on lanes; FAILURE on both.
const (
	TypeHello   Type = 1
	TypeLoad    Type = 2
	TypeLoaded  Type = 3
	TypePing    Type = 4
	TypePong    Type = 5
	TypeCancel  Type = 6
	TypeDrain   Type = 7
	TypeCall    Type = 16
	TypeAnswer  Type = 17
	TypeFailure Type = 18
)

var typeNames = [...]string{
	TypeHello: "HELLO", TypeLoad: "LOAD", TypeLoaded: "LOADED", TypePing: "PING", TypePong: "PONG", TypeCancel: "CANCEL", TypeDrain: "DRAIN",
	TypeCall: "CALL", TypeAnswer: "ANSWER", TypeFailure: "FAILURE",
}

func (t Type) known() bool { return int(t) < len(typeNames) && typeNames[t] != "" }

func (t Type) String() string {
	if t.known() {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Header begins a frame.
type Header struct {
	Type   Type
	ID     uint64 // chosen by who asks; an answer has that of what it answers
	Length uint32 // of the body, in bytes
}

const magic = 'D' | 'G'<<8 | 'W'<<16 | Version<<24 // little endian

// ParseHeader reads the first HeaderBytes of a frame whose body may have max bytes.
func ParseHeader(b []byte, max uint32) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, breach("header", len(b), "ends after %d of %d bytes", len(b), HeaderBytes)
	}
	word := binary.LittleEndian.Uint64(b)
	h := Header{Type: Type(b[4]), ID: binary.LittleEndian.Uint64(b[8:]), Length: binary.LittleEndian.Uint32(b[16:])}
	switch {
	case uint32(word) != magic:
		return Header{}, breach("header", 0, "begins with % x, not with % x", b[:4], []byte{'D', 'G', 'W', Version})
	case !h.Type.known():
		return Header{}, breach("header", 4, "%v is none of version %d", h.Type, Version)
	case word>>40 != 0:
		return Header{}, breach("header", 5, "reserved bytes are not zero")
	case h.Length > max:
		return Header{}, breach("header", 16, "%v has a body of %d bytes; at most %d are allowed", h.Type, h.Length, max)
	case binary.LittleEndian.Uint32(b[20:]) != 0:
		return Header{}, breach("header", 20, "reserved bytes are not zero")
	}
	return h, nil
}

// PutHeader writes h to the first HeaderBytes of b.
func PutHeader(b []byte, h Header) {
	_ = b[HeaderBytes-1]
	binary.LittleEndian.PutUint64(b, magic|uint64(h.Type)<<32)
	binary.LittleEndian.PutUint64(b[8:], h.ID)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.Length))
}

// AppendHeader appends h, which is a whole frame where the body is empty.
func AppendHeader(b []byte, h Header) []byte {
	b = append(b, make([]byte, HeaderBytes)...)
	PutHeader(b[len(b)-HeaderBytes:], h)
	return b
}
