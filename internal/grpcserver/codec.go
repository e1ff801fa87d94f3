package grpcserver

import (
	"sync/atomic"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// incoming is how a message is asked for: gRPC answers INTERNAL to an error of a codec, and what a client sent wrongly
// is not our failure. So the codec never fails to decode, and says here what is wrong.
type incoming struct {
	message any          // nil once it was filled: to be sure that a client sends one message only, gRPC looks for another
	bytes   atomic.Int64 // of all messages so far
	err     error        // of this one
}

// outgoing counts, and has the server know of what was not yet written.
type outgoing struct {
	c       *call
	message any
	bytes   atomic.Int64
}

type (
	bufferUnmarshaler interface {
		UnmarshalBuffers(mem.BufferSlice) error
	}
	bufferMarshaler interface {
		MarshalBuffers() (mem.BufferSlice, error)
	}
)

// codec gives the bytes of messages to who can read them, and all others to proto.
type codec struct{ proto encoding.CodecV2 }

func (codec) Name() string { return "proto" }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.proto.Unmarshal(data, v)
	}
	in.bytes.Add(int64(data.Len()))
	message := in.message
	in.message = nil
	switch m := message.(type) {
	case nil:
	case bufferUnmarshaler:
		in.err = m.UnmarshalBuffers(data)
	default:
		in.err = c.proto.Unmarshal(data, message)
	}
	return nil
}

func (c codec) Marshal(v any) (data mem.BufferSlice, err error) {
	out, ok := v.(*outgoing)
	if ok {
		v = out.message
	}
	if m, ok := v.(bufferMarshaler); ok {
		data, err = m.MarshalBuffers()
	} else {
		data, err = c.proto.Marshal(v)
	}
	if ok && err == nil {
		out.bytes.Add(int64(data.Len()))
		if out.c != nil {
			data = out.c.srv.answers.mark(data, out.c.remote(), v)
		}
	}
	return data, err
}
