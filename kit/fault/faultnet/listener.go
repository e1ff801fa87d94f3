package faultnet

import "net"

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
			dropped, err := l.pass(c)
			if err != nil {
				return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
			}
			if dropped {
				continue
			}
		}
		return wrap(c, &l.points, ""), nil
	}
}

// pass passes the point with a connection, which is closed if it does not get through.
func (l *listener) pass(c net.Conn) (dropped bool, err error) {
	passed := false
	defer func() {
		if !passed {
			_ = c.Close()
		}
	}()
	ctx := l.gate.enter()
	defer ctx.leave()
	damage, err := l.points.Accept.Damage(ctx, (&conn{Conn: c}).attrs()...)
	passed = err == nil && !damage.Drop
	return damage.Drop, err
}

func (l *listener) Close() error {
	l.gate.close()
	return l.Listener.Close()
}
