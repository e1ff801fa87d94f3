package faultnet

import (
	"net"

	"github.com/dougong-io/dougong/kit/fault"
)

// Listener returns inner with the point Accept after it, whose connections have the others around them; inner itself
// if there are none.
func Listener(inner net.Listener, p Points) net.Listener {
	if p.none() {
		return inner
	}
	return &listener{Listener: inner, points: p}
}

type listener struct {
	net.Listener
	points Points
	gate   gate // without a deadline
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.points.Accept.On() {
			through, err := l.pass(c)
			if e, ok := err.(*fault.Error); ok && !e.Temporary() {
				continue
			}
			if err != nil {
				return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
			}
			if !through {
				continue
			}
		}
		return wrap(c, &l.points, ""), nil
	}
}

// pass passes the point with a connection, which is closed if it does not get through.
func (l *listener) pass(c net.Conn) (through bool, err error) {
	defer func() {
		if !through {
			_ = c.Close()
		}
	}()
	defer fault.Contain(&err)
	ctx := l.gate.enter()
	defer ctx.leave()
	damage, err := l.points.Accept.Damage(ctx, (&conn{Conn: c}).attrs()...)
	return err == nil && !damage.Dropped(), err
}

func (l *listener) Close() error {
	l.gate.close()
	return l.Listener.Close()
}
