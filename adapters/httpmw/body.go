package httpmw

import (
	"context"
	"io"
	"net/http"
)

// body ends a call when it is read or closed.
type body struct {
	io.ReadCloser
	t    *Transport
	call *call
	req  *http.Request
	stop func() bool // watching the context
}

func watchBody(t *Transport, c *call, r *http.Request, rc io.ReadCloser) io.ReadCloser {
	b := &body{ReadCloser: rc, t: t, call: c, req: r}
	b.stop = context.AfterFunc(r.Context(), func() { b.fail(context.Cause(r.Context())) })
	return b
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.stop()
		if err == io.EOF {
			b.call.end(b.call.outcome, b.call.load)
		} else {
			b.fail(err)
		}
	}
	return n, err
}

// Close ends a call with what is known of it: that nobody wanted the rest is no fault of the server.
func (b *body) Close() error {
	b.stop()
	err := b.ReadCloser.Close()
	b.call.end(b.call.outcome, b.call.load)
	return err
}

func (b *body) fail(err error) { b.call.end(b.t.judge(b.req, nil, err)) }
