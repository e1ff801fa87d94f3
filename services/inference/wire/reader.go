package wire

import (
	"errors"
	"io"
	"slices"
)

// Reader reads frames, one at a time and not a byte ahead. It is for one goroutine.
type Reader struct {
	R   io.Reader
	Max uint32 // of a body; MaxControlBytes on the control socket

	frame []byte
}

// at first, and as much as a frame whose length is not to be believed yet may take at once.
const (
	firstBytes = 4 << 10
	stepBytes  = 1 << 20
)

// Next reads a frame. The body is valid until the next call. The error is io.EOF where the other side ended between two
// frames, io.ErrUnexpectedEOF within one, and an ErrBreach where the header is wrong. A frame that claims more than it
// has takes no more than twice the memory of what came, or stepBytes.
func (r *Reader) Next() (Header, []byte, error) {
	if r.frame == nil {
		r.frame = make([]byte, firstBytes)
	}
	frame := r.frame[:HeaderBytes]
	if _, err := io.ReadFull(r.R, frame); err != nil {
		return Header{}, nil, err
	}
	h, err := ParseHeader(frame, r.Max)
	if err != nil {
		return Header{}, nil, err
	}
	for total := HeaderBytes + int(h.Length); len(frame) < total; {
		have := len(frame)
		if room := min(total, max(cap(frame), 2*have, stepBytes)); room > cap(frame) {
			frame = slices.Grow(frame, room-have)
			r.frame = frame
		}
		frame = frame[:min(total, cap(frame))]
		if _, err := io.ReadFull(r.R, frame[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Header{}, nil, err
		}
	}
	return h, frame[HeaderBytes:], nil
}
