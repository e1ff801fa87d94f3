//go:build unix

package workercheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// malformed are frames that no service sends. A worker that took one for something else would compute what nobody
// asked for, or read memory that is not the call's; it says so on its log and ends with 2, and does not hang.
func malformed() []check {
	header := func(t wire.Type, n uint32) []byte {
		return wire.AppendHeader(nil, wire.Header{Type: t, ID: 1, Length: n})
	}
	edit := func(do func(frame []byte, c *wire.Call)) func(*suite) []byte {
		return func(s *suite) []byte {
			c := &wire.Call{Inputs: s.model.Cases.Cases[0].Inputs}
			frame := c.Append(nil, 1)
			do(frame, c)
			return frame
		}
	}
	const tensor = wire.HeaderBytes + wire.CallBytes // where the first begins
	var list []check
	for _, m := range []struct {
		name, why string
		onControl bool
		hangUp    bool // after the frame
		frame     func(s *suite) []byte
	}{
		{"garbage", "bytes that are no frame", false, false, func(*suite) []byte { return []byte("GET / HTTP/1.1\r\nHost: nowhere.invalid\r\n\r\n") }},
		{"other-version", "a frame of a version that was not agreed on", false, false, edit(func(b []byte, _ *wire.Call) { b[3] = 9 })},
		{"unknown-type", "a type that is none", false, false, edit(func(b []byte, _ *wire.Call) { b[4] = 99 })},
		{"reserved", "reserved bytes that are not zero", false, false, edit(func(b []byte, _ *wire.Call) { b[5] = 1 })},
		{"oversized", "a length beyond max_frame_bytes, which would be memory without a bound", false, false, func(*suite) []byte { return header(wire.TypeCall, math.MaxUint32) }},
		{"wrong-socket", "a PING on a lane", false, false, func(*suite) []byte { return header(wire.TypePing, 0) }},
		{"truncated", "a lane that ends in the middle of a frame", false, true, func(s *suite) []byte {
			frame := edit(func([]byte, *wire.Call) {})(s)
			return frame[:len(frame)-1]
		}},
		{"too-short", "a CALL without its head", false, false, func(*suite) []byte { return append(header(wire.TypeCall, 8), make([]byte, 8)...) }},
		{"too-many-tensors", "more tensors than there are bytes for", false, false, edit(func(b []byte, _ *wire.Call) { binary.LittleEndian.PutUint16(b[wire.HeaderBytes+34:], 60000) })},
		{"datatype", "a datatype that is none", false, false, edit(func(b []byte, _ *wire.Call) { b[tensor] = 77 })},
		{"rank", "more dimensions than eight", false, false, edit(func(b []byte, _ *wire.Call) { b[tensor+1] = 200 })},
		{"data-beyond-frame", "a tensor with more data than its frame", false, false, edit(func(b []byte, _ *wire.Call) { binary.LittleEndian.PutUint64(b[tensor+8:], math.MaxUint64-6) })},
		{"dimensions-overflow", "dimensions whose product overflows to what there is", false, false, func(s *suite) []byte {
			in := s.model.Cases.Cases[0].Inputs[0]
			in.Datatype, in.Shape, in.Data = wire.UINT8, []int64{1 << 32, 1 << 32}, nil
			return (&wire.Call{Inputs: []wire.Tensor{in}}).Append(nil, 1)
		}},
		{"negative-dimension", "a dimension below zero", false, false, func(s *suite) []byte {
			in := s.model.Cases.Cases[0].Inputs[0]
			in.Datatype, in.Shape, in.Data = wire.UINT8, []int64{-1, -4}, make([]byte, 4)
			return (&wire.Call{Inputs: []wire.Tensor{in}}).Append(nil, 1)
		}},
		{"same-name-twice", "two tensors of one name", false, false, func(s *suite) []byte {
			in := s.model.Cases.Cases[0].Inputs[0]
			return (&wire.Call{Inputs: []wire.Tensor{in, in}}).Append(nil, 1)
		}},
		{"garbage-on-control", "bytes that are no frame, on the control socket", true, false, func(*suite) []byte { return []byte("GET / HTTP/1.1\r\nHost: nowhere.invalid\r\n\r\n") }},
		{"oversized-on-control", "a length beyond 1 MiB on the control socket", true, false, func(*suite) []byte { return header(wire.TypeLoad, 2<<20) }},
		{"call-on-control", "a CALL on the control socket", true, false, edit(func([]byte, *wire.Call) {})},
		{"load-twice", "a second LOAD", true, false, func(*suite) []byte { return append(header(wire.TypeLoad, 2), "{}"...) }},
		{"truncated-on-control", "a control socket that ends in the middle of a frame", true, true, func(*suite) []byte { return header(wire.TypePing, 0)[:9] }},
	} {
		list = append(list, check{"malformed/" + m.name, "ends with 2 and a line: " + m.why, with(2, func(s *suite, p *process, _ wire.Loaded) error {
			to := p.lanes[1]
			if m.onControl {
				to = p.control
			}
			if err := p.write(to, m.frame(s)); err != nil {
				return err
			}
			if m.hangUp {
				to.file.Close()
			}
			if err := errors.Join(p.exits(patience, 2), p.leavesNothing()); err != nil {
				return err
			}
			if p.said() == "" {
				return fmt.Errorf("it says nothing on its log")
			}
			return nil
		})})
	}
	return list
}
