package grpcserver

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
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
	since time.Time
	up    atomic.Bool // the handshake is done
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, conns: make(map[*conn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, l: l, since: time.Now()}
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// cut closes the connections: those that are not yet one of gRPC, or all.
func (l *listener) cut(all bool) {
	var closing []*conn
	l.mu.Lock()
	for c := range l.conns {
		if all || !c.up.Load() {
			closing = append(closing, c)
		}
	}
	l.mu.Unlock()
	for _, c := range closing {
		c.Close()
	}
}

// living tells since when each client's connection is there.
func (l *listener) living() map[netip.AddrPort]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	living := make(map[netip.AddrPort]time.Time, len(l.conns))
	for c := range l.conns {
		living[addrPortOf(c.RemoteAddr())] = c.since
	}
	return living
}

// cutThose closes the connections of these clients that were there at that time, and returns whose they were.
func (l *listener) cutThose(since map[netip.AddrPort]time.Time) (remotes []netip.AddrPort) {
	var closing []*conn
	l.mu.Lock()
	for c := range l.conns {
		remote := addrPortOf(c.RemoteAddr())
		if at, ok := since[remote]; ok && !c.since.After(at) {
			closing = append(closing, c)
			remotes = append(remotes, remote)
		}
	}
	l.mu.Unlock()
	for _, c := range closing {
		c.Close()
	}
	return remotes
}

// SetDeadline is how gRPC says that the handshake is done: it lifts the bound on it, and sets none later.
func (c *conn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.up.Store(true)
	}
	return c.Conn.SetDeadline(t)
}

// addrPortOf returns a client's address, zero if it is none of TCP.
func addrPortOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	addr := tcp.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

func (c *conn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.Conn }
