package faulthttp

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

var errLost = fmt.Errorf("faulthttp: %w: the request was sent, its answer is lost: %w", fault.ErrInjected, io.ErrUnexpectedEOF)

// Transport returns next (http.DefaultTransport if it is nil) with points around it; next itself if there are none.
//
// An error comes before the request, which is not sent. If its rule has an HTTP status, it is an answer with that
// status instead, and with Retry-After if the rule has one. Drop has the request sent and its answer lost: an error
// that is [io.ErrUnexpectedEOF]. The body of an answer that is truncated ends with io.ErrUnexpectedEOF.
func Transport(next http.RoundTripper, p Points) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	if p.none() {
		return next
	}
	return &transport{next, p}
}

type transport struct {
	next   http.RoundTripper
	points Points
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.points.Exchange.On() {
		return t.struck(r)
	}
	answer, err := t.next.RoundTrip(r)
	if err == nil && t.points.Body.On() {
		t.wrap(r, answer, fault.Damage{})
	}
	return answer, err
}

func (t *transport) struck(r *http.Request) (*http.Response, error) {
	damage, err := t.ask(r)
	if e, ok := err.(*fault.Error); ok && e.HTTPStatus != 0 {
		return instead(r, e), nil
	}
	if err != nil {
		return nil, err
	}
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	if damage.Dropped() {
		_ = answer.Body.Close()
		return nil, errLost
	}
	if damage.Any() || t.points.Body.On() {
		t.wrap(r, answer, damage)
	}
	return answer, nil
}

// ask passes the point. Whoever does not send a request has to close its body, also when it panics.
func (t *transport) ask(r *http.Request) (damage fault.Damage, err error) {
	passed := false
	defer func() {
		if !passed && r.Body != nil {
			_ = r.Body.Close()
		}
	}()
	damage, err = t.points.Exchange.Damage(r.Context(), t.points.attrs(r, r.URL.Host)...)
	passed = err == nil
	return damage, err
}

// CloseIdleConnections is what [http.Client] asks for.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// wrap has the body of an answer pass. After 101 it is a connection, which stays as it is.
func (t *transport) wrap(r *http.Request, answer *http.Response, damage fault.Damage) {
	if answer.StatusCode == http.StatusSwitchingProtocols || answer.Body == nil || answer.Body == http.NoBody {
		return
	}
	answer.Body = &body{
		ReadCloser: answer.Body, ctx: r.Context(), point: t.points.Body, damage: damage,
		attrs: func() []fault.Attr { return t.points.attrs(r, r.URL.Host) },
	}
}

// instead is the answer that a rule gives.
func instead(r *http.Request, e *fault.Error) *http.Response {
	text := e.Error() + "\n"
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {strconv.Itoa(len(text))}}
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter-1)/time.Second)+1, 10))
	}
	answer := &http.Response{
		Status:     strings.TrimSpace(strconv.Itoa(e.HTTPStatus) + " " + http.StatusText(e.HTTPStatus)),
		StatusCode: e.HTTPStatus, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}
	if r.Method == http.MethodHead {
		answer.Body = http.NoBody
	}
	return answer
}
