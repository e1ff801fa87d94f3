package faulthttp

import (
	"context"
	"errors"
	"io"

	"github.com/dougong-io/dougong/kit/fault"
)

// body is a body that passes a point at each read, and may be damaged.
type body struct {
	io.ReadCloser
	ctx    context.Context
	point  *fault.Point
	attrs  func() []fault.Attr
	damage fault.Damage
	offset int64
	cut    bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.point.On() {
		if err := b.pass(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.EOF // which readers compare, and do not unwrap
			}
			return 0, err
		}
	}
	if b.cut {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p)
	left := len(b.damage.Apply(p[:n], b.offset))
	b.offset += int64(n)
	if left < n {
		b.cut = true
		return left, io.ErrUnexpectedEOF
	}
	return n, err
}

// pass passes the point. Transports read bodies on goroutines of their own, where nobody recovers.
func (b *body) pass() (err error) {
	defer fault.Contain(&err)
	return b.point.Hit(b.ctx, b.attrs()...)
}
