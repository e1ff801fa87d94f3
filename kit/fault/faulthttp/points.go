package faulthttp

import (
	"errors"
	"io"
	"net/http"
	"syscall"

	"github.com/dougong-io/dougong/kit/fault"
)

// Points are those of a transport or a handler. One that is nil is off.
type Points struct {
	// Exchange is a request and its answer (fault.Bytes). A delay or a hang comes before the request. What damages
	// bytes is drawn once and damages the body of the answer, if it has one, with offsets from its beginning; when the
	// rule ends, what comes after that is as it is. What the other effects do is said at Transport and Handler.
	Exchange *fault.Point

	// Body is each read of a body (fault.Call): of the answer on a client, of the request on a server. A body that
	// was begun while the point was off stays as it is. An injected panic is an error of the read: transports read
	// bodies on goroutines of their own, where nobody recovers.
	Body *fault.Point

	// Attrs, if set, adds attributes of a request. It is called while a point is on.
	Attrs func(*http.Request) []fault.Attr
}

func (p *Points) none() bool { return p.Exchange == nil && p.Body == nil }

func (p *Points) attrs(r *http.Request, host string) []fault.Attr {
	list := []fault.Attr{{Key: "method", Value: r.Method}, {Key: "host", Value: host}, {Key: "path", Value: r.URL.Path}}
	if r.Pattern != "" {
		list = append(list, fault.Attr{Key: "route", Value: r.Pattern})
	}
	if p.Attrs != nil {
		list = append(list, p.Attrs(r)...)
	}
	return list
}

// broken reports whether an error is that of a connection which has ended.
func broken(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
