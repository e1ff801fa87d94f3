package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/dougong-io/dougong/prove/load/script"
)

// h2conn is one HTTP/2 connection, which the users of its streams share.
type h2conn struct {
	transport *http.Transport
	scheme    string
	address   string

	mu      sync.Mutex
	current *http.ClientConn
	retired []*http.ClientConn // take no more requests, but may still answer some
}

func newH2Conn(d *dialer) *h2conn {
	protocols := new(http.Protocols)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }
	c := &h2conn{scheme: "http", address: d.address}
	if d.tls != nil {
		c.scheme = "https"
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	c.transport = &http.Transport{
		Protocols:          protocols,
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{StrictMaxConcurrentRequests: true},
		DialContext:        dial,
		DialTLSContext:     dial,
		TLSClientConfig:    &tls.Config{},
	}
	return c
}

// get returns the connection, and opens it if there is none or it has ended.
func (c *h2conn) get(ctx context.Context) (*http.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.current.Err() == nil {
		return c.current, nil
	}
	if c.current != nil {
		c.retired = append(c.retired, c.current)
		c.current = nil
	}
	kept := c.retired[:0]
	for _, old := range c.retired {
		if old.InFlight() == 0 {
			old.Close()
		} else {
			kept = append(kept, old)
		}
	}
	clear(c.retired[len(kept):])
	c.retired = kept
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := c.transport.NewClientConn(ctx, c.scheme, c.address)
	if err != nil {
		return nil, err
	}
	c.current = conn
	return conn, nil
}

func (c *h2conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		c.current.Close()
	}
	for _, old := range c.retired {
		old.Close()
	}
}

// retire gives up a connection that takes no more requests.
func (c *h2conn) retire(conn *http.ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == conn {
		c.retired = append(c.retired, conn)
		c.current = nil
	}
}

// newHTTP2 makes the links of the streams of one HTTP/2 connection.
func newHTTP2(users []*user, d *dialer) []link {
	conn := newH2Conn(d)
	links := make([]link, len(users))
	for i, u := range users {
		stream := &h2stream{conn: conn}
		c := newCaller(u, stream.exchange)
		if i == 0 {
			c.open = func(ctx context.Context) error {
				_, err := conn.get(ctx)
				return err
			}
			c.close = conn.close
		}
		links[i] = c
	}
	return links
}

// h2stream makes one request at a time.
type h2stream struct {
	conn   *h2conn
	path   []byte
	body   []byte
	answer bytes.Buffer
}

func (s *h2stream) exchange(ctx context.Context, u *user) (o outcome) {
	step := u.current()
	request, err := s.request(ctx, u, step)
	if err != nil {
		return outcome{class: ClassLocal, err: err}
	}
	var response *http.Response
	for range 4 {
		var conn *http.ClientConn
		if conn, err = s.conn.get(ctx); err != nil {
			return outcome{class: classify(err), err: err}
		}
		o.out = uint64(len(s.body))
		u.sent = u.run.clock.now()
		if response, err = conn.RoundTrip(request); err == nil || !untouched(err) {
			break
		}
		// The target has asked for a new connection (GOAWAY) and has not looked at this request (RFC 9113, 6.8).
		s.conn.retire(conn)
		u.run.stats.replays.Add(1)
		if request, err = s.request(ctx, u, step); err != nil {
			return outcome{class: ClassLocal, err: err}
		}
	}
	if err != nil {
		o.class, o.err = classifyHTTP2(err), err
		return o
	}
	defer response.Body.Close()
	o.status = codeName(response.StatusCode)
	s.answer.Reset()
	var sink io.Writer = io.Discard
	if step.looks {
		sink = &s.answer
	}
	limit := u.run.plan.MaxBody
	n, err := io.Copy(sink, io.LimitReader(response.Body, limit+1))
	o.in = uint64(n)
	o.end = u.run.clock.now()
	switch {
	case err != nil:
		o.class, o.err = classifyHTTP2(err), err
	case n > limit:
		o.class, o.err = ClassProtocol, fmt.Errorf("a body of more than %d bytes", limit)
	default:
		o.class, o.err = step.judge(u, &script.Answer{Status: response.StatusCode, Header: response.Header.Get, Body: s.answer.Bytes()})
	}
	return o
}

func (s *h2stream) request(ctx context.Context, u *user, step *step) (*http.Request, error) {
	s.path = append(append(append(s.path[:0], s.conn.scheme...), "://"...), u.run.target.Host...)
	at := len(s.path)
	s.path = step.path.Append(s.path, &u.vars)
	if path := string(s.path[at:]); !fieldValue(path) || strings.Contains(path, " ") {
		return nil, errField
	}
	s.body = step.body.Append(s.body[:0], &u.vars)
	var body io.Reader
	if len(s.body) > 0 {
		body = bytes.NewReader(s.body)
	}
	request, err := http.NewRequestWithContext(ctx, step.method, string(s.path[:at])+"/", body)
	if err != nil {
		return nil, err
	}
	request.URL.Opaque = string(s.path[len(s.conn.scheme)+1:]) // as it was rendered, whatever is in it
	request.Header.Set("User-Agent", "dougong-load")
	if len(s.body) > 0 {
		request.Header.Set("Content-Type", contentType(s.body))
	}
	for _, header := range step.headers {
		value := string(header.value.Append(nil, &u.vars))
		if !fieldValue(value) {
			return nil, errField
		}
		if strings.EqualFold(header.name, "host") {
			request.Host = value
			continue
		}
		request.Header.Set(header.name, value)
	}
	return request, nil
}

// untouched tells whether the target has certainly not processed a request that failed.
func untouched(err error) bool {
	text := err.Error()
	return strings.Contains(text, "client conn not usable") || strings.Contains(text, "client connection is closing") ||
		strings.Contains(text, "graceful shutdown GOAWAY") || strings.Contains(text, "REFUSED_STREAM")
}

// classifyHTTP2 reads what the standard library only says in words.
func classifyHTTP2(err error) Class {
	class := classify(err)
	if class != ClassProtocol {
		return class
	}
	switch text := err.Error(); {
	case strings.Contains(text, "REFUSED_STREAM"), strings.Contains(text, "GOAWAY"), strings.Contains(text, "connection lost"), strings.Contains(text, "conn closed"), strings.Contains(text, "closed connection"):
		return ClassClosed
	case strings.Contains(text, "CANCEL"), strings.Contains(text, "INTERNAL_ERROR"), strings.Contains(text, "NO_ERROR"):
		return ClassReset
	}
	return ClassProtocol
}
