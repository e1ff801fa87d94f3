package grpcdesc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Codec returns the codec that sends and receives the bytes of messages unchanged. Give it to a call with
// grpc.ForceCodecV2.
//
// To send, it takes []byte, mem.Buffer and mem.BufferSlice. A []byte is not copied and must never be changed
// afterwards: a call that ran into its deadline may still be in the connection's queue. The others become gRPC's,
// which frees them.
//
// To receive, it takes *[]byte, into whose capacity the message is copied, and *mem.BufferSlice and *mem.Buffer,
// which are not copied and which the caller has to Free.
func Codec() encoding.CodecV2 { return rawCodec{} }

type rawCodec struct{}

// Name is that of the codec for messages: a server has to see what it always sees.
func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case []byte:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil
	case mem.BufferSlice:
		return v, nil
	case mem.Buffer:
		return mem.BufferSlice{v}, nil
	}
	return nil, fmt.Errorf("raw codec: cannot send a %T; it takes []byte, mem.Buffer and mem.BufferSlice", v)
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = (*v)[:0]
		for _, b := range data {
			*v = append(*v, b.ReadOnlyData()...)
		}
		return nil
	case *mem.BufferSlice:
		data.Ref()
		*v = data
		return nil
	case *mem.Buffer:
		*v = data.MaterializeToBuffer(mem.DefaultBufferPool())
		return nil
	}
	return fmt.Errorf("raw codec: cannot receive into a %T; it takes *[]byte, *mem.Buffer and *mem.BufferSlice", v)
}
