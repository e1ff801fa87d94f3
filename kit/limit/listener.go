package limit

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Listener bounds the connections that it accepts: all of them, those of one client, and how slow they may be. It
// belongs directly on the socket, beneath TLS. This type is concurrency safe.
//
// A connection too many is accepted and closed at once. To leave it in the backlog of the kernel would make
// its client wait for what will not come, and health probes with it. But before that, the slowest client that owes
// bytes is closed, or else the one that has been idle longest: who only keeps connections locks nobody out. A client that
// has its share makes room for itself in the same way, if one of its own is idle.
type Listener struct {
	net.Listener
	config   ConnConfig
	observer ConnObserver
	epoch    time.Time
	now      atomic.Int64 // since epoch, at the last sweep: time is as coarse as tick
	tick     time.Duration
	stop     chan struct{}
	swept    chan struct{} // closed when nothing sweeps any more
	closing  sync.Once

	mu      sync.Mutex // before that of a Conn
	conns   map[*Conn]struct{}
	clients map[netip.Prefix]*client
	room    room
	refused map[ConnReason]uint64
	closed  map[ConnReason]uint64
}

// NewListener wraps inner, or returns what is wrong with config. Close ends it.
func NewListener(inner net.Listener, config ConnConfig, opts ...ConnOption) (*Listener, error) {
	if inner == nil {
		return nil, errors.New("limit: listener: there is none to wrap")
	}
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("limit: listener: %w", err)
	}
	if config.IPv4Bits == 0 {
		config.IPv4Bits = 32
	}
	if config.IPv6Bits == 0 {
		config.IPv6Bits = 64
	}
	l := &Listener{
		Listener: inner, config: config, epoch: time.Now(), tick: tickMost,
		stop: make(chan struct{}), swept: make(chan struct{}),
		conns: make(map[*Conn]struct{}), clients: make(map[netip.Prefix]*client),
		refused: map[ConnReason]uint64{ConnsFull: 0, ClientFull: 0},
		closed:  map[ConnReason]uint64{SlowRead: 0, SlowWrite: 0, Idle: 0, Ended: 0},
	}
	for _, opt := range opts {
		opt(l)
	}
	if config.MinRate > 0 {
		l.tick = min(max(config.Grace/8, tickLeast), tickMost)
	}
	if config.MinRate == 0 && config.MaxConns == 0 && config.MaxPerClient == 0 { // nobody is slow, and nobody has to make room
		close(l.swept)
	} else {
		go l.sweep()
	}
	return l, nil
}

// Accept returns the next connection that there is room for, a *[Conn].
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: inner, listener: l, client: l.clientOf(inner.RemoteAddr())}
		c.last = l.coarse()
		reason := l.admit(c)
		for reason != "" && l.makeRoom(c, reason) {
			reason = l.admit(c)
		}
		if reason == "" {
			if l.observer != nil {
				l.observer.Opened()
			}
			return c, nil
		}
		l.mu.Lock()
		l.refused[reason]++
		l.mu.Unlock()
		if l.observer != nil {
			l.observer.Refused(reason)
		}
		_ = inner.Close()
	}
}

// Close stops listening and ends the sweep. Connections that are open stay so; nobody judges them any more.
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.stop) })
	err := l.Listener.Close()
	<-l.swept
	return err
}

// ListenerStats is what a listener says about itself.
type ListenerStats struct {
	Open    int                   // connections
	Clients int                   // that have one, if MaxPerClient is set
	Refused map[ConnReason]uint64 // since NewListener
	Closed  map[ConnReason]uint64 // since NewListener
}

// Stats returns a consistent picture.
func (l *Listener) Stats() ListenerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ListenerStats{Open: len(l.conns), Clients: len(l.clients), Refused: maps.Clone(l.refused), Closed: maps.Clone(l.closed)}
}

// clientOf returns whose connection it is, the zero Prefix if nobody can tell or it does not matter.
func (l *Listener) clientOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || l.config.MaxPerClient == 0 {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := l.config.IPv6Bits
	if ip.Is4() {
		bits = l.config.IPv4Bits
	}
	client, err := ip.Prefix(bits)
	if err != nil { // no address
		return netip.Prefix{}
	}
	return client
}

// admit counts the connection, or returns why not.
func (l *Listener) admit(c *Conn) ConnReason {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.clients[c.client]
	switch {
	case own != nil && len(own.conns) >= l.config.MaxPerClient:
		return ClientFull
	case l.config.MaxConns > 0 && len(l.conns) >= l.config.MaxConns:
		return ConnsFull
	}
	l.conns[c] = struct{}{}
	if c.client.IsValid() {
		if own == nil {
			own = &client{conns: make(map[*Conn]struct{})}
			l.clients[c.client] = own
		}
		own.conns[c] = struct{}{}
	}
	return ""
}

// forget ends the count of a connection, once.
func (l *Listener) forget(c *Conn, reason ConnReason) {
	l.mu.Lock()
	_, open := l.conns[c]
	if open {
		delete(l.conns, c)
		l.closed[reason]++
		if c.client.IsValid() {
			own := l.clients[c.client]
			if delete(own.conns, c); len(own.conns) == 0 {
				delete(l.clients, c.client)
			}
		}
	}
	l.mu.Unlock()
	if open && l.observer != nil {
		l.observer.Closed(reason)
	}
}

// pause is how long a client may be quiet or slow before it may have to make room.
func (l *Listener) pause() time.Duration { return l.config.Grace / 4 }

// coarse is the time of the last sweep.
func (l *Listener) coarse() time.Duration { return time.Duration(l.now.Load()) }
