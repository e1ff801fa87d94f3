package inference

import (
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/dougong-io/dougong/kit/pool"
)

// Codings of bodies that are understood.
const (
	codingGzip    = "gzip"
	codingDeflate = "deflate" // zlib's format, as HTTP means it
)

var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	gzipWriters = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
		return w
	}}
)

// source is where the plain bytes of a body come from.
type source struct {
	io.Reader
	length int64 // that was announced, -1: none was
	give   func()
}

// open looks at how a body is coded.
func (x *exchange) open(r *http.Request) (source, error) {
	switch coding := strings.ToLower(strings.Join(r.Header["Content-Encoding"], ", ")); coding {
	case "", "identity":
		return source{Reader: r.Body, length: r.ContentLength}, nil
	case codingGzip, "x-gzip":
		z := gzipReaders.Get().(*gzip.Reader)
		if err := z.Reset(r.Body); err != nil {
			gzipReaders.Put(z)
			return source{}, undecodable(coding, err)
		}
		return inflated(z, coding, x.service.cfg.MaxInflatedBytes, func() {
			_ = z.Reset(nothing{}) // it must not keep the body
			gzipReaders.Put(z)
		}), nil
	case codingDeflate:
		z, err := zlib.NewReader(r.Body)
		if err != nil {
			return source{}, undecodable(coding, err)
		}
		return inflated(z, coding, x.service.cfg.MaxInflatedBytes, nil), nil
	default:
		return source{}, &badRequest{code: CodeUnknownEncoding, status: http.StatusUnsupportedMediaType, msg: fmt.Sprintf("the body is coded as %.64q; understood are gzip and deflate", coding)}
	}
}

func inflated(z io.Reader, coding string, most int64, give func()) source {
	return source{Reader: &bounded{coding: coding, from: z, most: most, left: most}, length: -1, give: give}
}

// nothing is an empty body.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// bounded is a body that is inflated, up to a bound: a few bytes can stand for very many.
type bounded struct {
	coding     string
	from       io.Reader
	most, left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, &badRequest{code: CodeBodyTooLarge, status: http.StatusRequestEntityTooLarge, msg: fmt.Sprintf("the body is larger than %d bytes when it is inflated; send fewer rows in a request", b.most)}
	}
	if err != nil && err != io.EOF {
		err = undecodable(b.coding, err)
	}
	return n, err
}

// undecodable is the fault of the coding, or of the connection below it.
func undecodable(coding string, err error) error {
	switch err {
	case io.ErrUnexpectedEOF, io.EOF, gzip.ErrHeader, gzip.ErrChecksum, zlib.ErrHeader, zlib.ErrChecksum, zlib.ErrDictionary:
		return malformed("the body is not whole %s: %v", coding, err)
	}
	return err
}

// squeeze codes a long answer for a caller that takes it so.
func (x *exchange) squeeze() {
	from := x.service.cfg.CompressFromBytes
	if !x.acceptsGzip || from == 0 || int64(len(x.answer.Bytes())) < from {
		return
	}
	out := x.service.buffers.Get(len(x.answer.Bytes()) / 2)
	z := gzipWriters.Get().(*gzip.Writer)
	z.Reset(&appender{out})
	z.Write(x.answer.Bytes()) // an appender does not fail
	z.Close()
	z.Reset(io.Discard) // it must not keep the answer
	gzipWriters.Put(z)
	x.answer.Release()
	x.answer, x.coding = out, codingGzip
}

// appender writes to the end of a buffer.
type appender struct{ pool.Buffer }

func (a *appender) Write(p []byte) (int, error) {
	a.Grow(len(p))
	a.SetBytes(append(a.Bytes(), p...))
	return len(p), nil
}

// acceptsGzip tells whether the caller says so. A coding with q=0 is refused.
func acceptsGzip(header http.Header) bool {
	for _, line := range header["Accept-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), codingGzip) {
				q := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(weight), " ", ""))
				return !strings.HasPrefix(q, "q=0") || strings.Trim(strings.TrimPrefix(q, "q=0"), ".0") != ""
			}
		}
	}
	return false
}
