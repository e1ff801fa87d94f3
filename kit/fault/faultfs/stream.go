package faultfs

import (
	"context"
	"errors"
	"io"

	"github.com/dougong-io/dougong/kit/fault"
)

// Reader returns r with a point at each read (fault.Bytes); r itself if p is nil. What is held ends with ctx. What
// damages the stream is drawn once, at the first read while the point is on, and its offsets count from the first byte
// of the stream; a stream that is truncated or dropped ends early, with [io.EOF]. When the rule ends that ordered it,
// the stream goes on where it is.
//
// An injected panic is an error here: streams are handed to libraries, which read and write them on goroutines of their
// own, where nobody recovers.
func Reader(ctx context.Context, r io.Reader, p *fault.Point, attrs ...fault.Attr) io.Reader {
	if p == nil {
		return r
	}
	return &reader{stream{ctx: ctx, point: p, attrs: attrs}, r}
}

// Writer returns w with a point at each write (fault.Bytes); w itself if p is nil. It is as Reader, but for what is
// dropped or truncated: the rest of a dropped stream is reported as written, that of a truncated one is a short write.
func Writer(ctx context.Context, w io.Writer, p *fault.Point, attrs ...fault.Attr) io.Writer {
	if p == nil {
		return w
	}
	return &writer{stream{ctx: ctx, point: p, attrs: attrs}, w}
}

// stream is where one is, and what befalls it.
type stream struct {
	ctx    context.Context
	point  *fault.Point
	attrs  []fault.Attr
	offset int64
	drawn  bool
	damage fault.Damage
}

func (s *stream) pass() (err error) {
	defer fault.Contain(&err)
	switch {
	case !s.point.On():
		return nil
	case s.drawn:
		return s.point.Hit(s.ctx, s.attrs...)
	}
	damage, err := s.point.Damage(s.ctx, s.attrs...)
	if err == nil {
		s.damage, s.drawn = damage, true
	}
	return err
}

type reader struct {
	stream
	r io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.pass(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.EOF // which readers compare, and do not unwrap
		}
		return 0, err
	}
	if r.damage.Dropped() {
		return 0, io.EOF
	}
	// What lies beyond a cut is not read: it is still there when the rule ends.
	if after, cut := r.damage.Cut(); cut && int64(len(b)) > after-r.offset {
		if b = b[:max(0, after-r.offset)]; len(b) == 0 {
			return 0, io.EOF
		}
	}
	n, err := r.r.Read(b)
	left := len(r.damage.Apply(b[:n], r.offset))
	r.offset += int64(n)
	if left < n {
		err = io.EOF
	}
	return left, err
}

type writer struct {
	stream
	w io.Writer
}

func (w *writer) Write(b []byte) (int, error) {
	if err := w.pass(); err != nil {
		return 0, err
	}
	if w.damage.Dropped() {
		w.offset += int64(len(b))
		return len(b), nil
	}
	left := w.damage.Copy(b, w.offset)
	n, err := 0, error(nil)
	if len(left) > 0 || len(b) == 0 { // a pipe would wait for somebody who takes nothing
		n, err = w.w.Write(left)
	}
	w.offset += int64(n)
	if err == nil && n < len(b) {
		err = errShort
	}
	return n, err
}
