package grpcserver

import (
	"net"
	"sync"
	"sync/atomic"
)

// listener knows the connections that it accepted, so that a stop need not wait for those that never became one of
// gRPC: it would, for as long as a handshake may take.
type listener struct {
	net.Listener

	mu    sync.Mutex
	conns map[*conn]struct{}
}

type conn struct {
	net.Conn
	l     *listener
	heard atomic.Bool // something was read
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, conns: make(map[*conn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, l: l}
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// cut closes the connections: those that have sent nothing yet, or all.
func (l *listener) cut(all bool) {
	var closing []*conn
	l.mu.Lock()
	for c := range l.conns {
		if all || !c.heard.Load() {
			closing = append(closing, c)
		}
	}
	l.mu.Unlock()
	for _, c := range closing {
		c.Close()
	}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

func (c *conn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.Conn }
