package grpcserver

import (
	"compress/zlib"
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
)

// deflate is the coding that gRPC in C++ and Python offers beside gzip: zlib's format. The bound on messages after
// decompression is gRPC's own.
type deflate struct {
	writers sync.Pool // of *zlib.Writer
	readers sync.Pool // of io.ReadCloser that is a zlib.Resetter
}

// registerDeflate makes the coding known to gRPC, in whose registry it can only be for the whole process.
var registerDeflate = sync.OnceFunc(func() { encoding.RegisterCompressor(&deflate{}) })

func (*deflate) Name() string { return "deflate" }

func (d *deflate) Compress(w io.Writer) (io.WriteCloser, error) {
	z, ok := d.writers.Get().(*zlib.Writer)
	if !ok {
		var err error
		if z, err = zlib.NewWriterLevel(w, zlib.BestSpeed); err != nil { // an answer is written once and read once
			return nil, err
		}
	} else {
		z.Reset(w)
	}
	return &deflateWriter{z, d}, nil
}

func (d *deflate) Decompress(r io.Reader) (io.Reader, error) {
	if z, ok := d.readers.Get().(io.ReadCloser); ok {
		if err := z.(zlib.Resetter).Reset(r, nil); err != nil {
			d.readers.Put(z)
			return nil, err
		}
		return &deflateReader{z, d}, nil
	}
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, err
	}
	return &deflateReader{z, d}, nil
}

type deflateWriter struct {
	*zlib.Writer
	of *deflate
}

func (w *deflateWriter) Close() error {
	defer w.of.writers.Put(w.Writer)
	return w.Writer.Close()
}

type deflateReader struct {
	from io.ReadCloser // nil once it was read to its end
	of   *deflate
}

func (r *deflateReader) Read(p []byte) (int, error) {
	if r.from == nil {
		return 0, io.EOF
	}
	n, err := r.from.Read(p)
	if err == io.EOF {
		r.of.readers.Put(r.from)
		r.from = nil
	}
	return n, err
}
