package grpcserver

import (
	"compress/zlib"
	"io"
	"sync"

	"google.golang.org/grpc/mem"
)

// inflate reads the coding deflate, zlib's format, that gRPC in C++ and Python offers beside gzip.
type inflate struct {
	most    int64     // bytes of a message
	readers sync.Pool // of io.ReadCloser that is a zlib.Resetter
}

// Type implements grpc.Decompressor.
func (*inflate) Type() string { return "deflate" }

// Do implements grpc.Decompressor. It stops at one byte too many, which gRPC refuses.
func (f *inflate) Do(r io.Reader) ([]byte, error) {
	z, ok := f.readers.Get().(io.ReadCloser)
	var err error
	if ok {
		err = z.(zlib.Resetter).Reset(r, nil)
	} else {
		z, err = zlib.NewReader(r)
	}
	if err != nil {
		return nil, err
	}
	defer f.readers.Put(z)
	message, err := mem.ReadAll(io.LimitReader(z, f.most+1), mem.DefaultBufferPool())
	defer message.Free()
	if err != nil {
		return nil, err
	}
	return message.Materialize(), nil
}
