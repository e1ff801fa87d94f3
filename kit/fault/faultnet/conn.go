package faultnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

var (
	errCut    = fmt.Errorf("faultnet: %w: the connection was cut: %w", fault.ErrInjected, syscall.ECONNRESET)
	errCannot = errors.New("faultnet: the connection beneath cannot do that")
)

// Conn returns inner with the points Read, Write and Close around it; inner itself if there are none of these.
//
// A read or write that is held ends at its deadline and at Close, as one of the network does. What sends files
// without copying them still does while its point is off: a rule that begins meanwhile strikes after such a transfer.
// What is done with the socket itself (SyscallConn, NetConn) passes no point.
//
// An injected panic is an error here: libraries read and close connections on goroutines of their own, where nobody
// recovers. Errors are a *[net.OpError]; only an end of file (cause eof) is [io.EOF] itself, as readers compare it.
func Conn(inner net.Conn, p Points) net.Conn { return wrap(inner, &p, "") }

func wrap(inner net.Conn, p *Points, address string) net.Conn {
	if p.Read == nil && p.Write == nil && p.Close == nil {
		return inner
	}
	return &conn{Conn: inner, points: p, address: address}
}

type conn struct {
	net.Conn
	points  *Points
	address string                       // as dialled; empty: it was not
	told    atomic.Pointer[[]fault.Attr] // what points tell of it, once they did
	reads   gate
	writes  gate
	cut     atomic.Bool // by a fault
	shut    atomic.Bool // for writing, by its owner
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		var damage fault.Damage
		if c.points.Read.On() {
			var err error
			if damage, err = c.pass(c.points.Read, &c.reads); err != nil {
				if e, ok := err.(*fault.Error); ok && e.Cause == io.EOF {
					return 0, io.EOF
				}
				return 0, c.failed("read", err)
			}
		}
		n, err := c.Conn.Read(b)
		dropped := damage.Dropped() // now: the rule may have ended long before these bytes came
		switch left := len(damage.Apply(b[:n], 0)); {
		case err != nil && c.cut.Load():
			return n, c.failed("read", errCut)
		case dropped && n > 0 && err == nil:
		case dropped && n > 0:
			return 0, err
		case left == n:
			return n, err
		default:
			c.sever()
			if left == 0 {
				return 0, c.failed("read", errCut)
			}
			return left, nil
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if !c.points.Write.On() {
		return c.wrote(c.Conn.Write(b))
	}
	damage, err := c.pass(c.points.Write, &c.writes)
	if err != nil {
		return 0, c.failed("write", err)
	}
	dropped, left := damage.Dropped(), damage.Copy(b, 0)
	if dropped || len(left) == 0 {
		// The connection beneath is not asked, so that what it would have said has to be said here.
		if err := c.writable(); err != nil {
			return 0, c.failed("write", err)
		}
	}
	if dropped {
		return len(b), nil
	}
	n := 0
	if len(left) > 0 || len(b) == 0 {
		n, err = c.wrote(c.Conn.Write(left))
	}
	if err == nil && len(left) < len(b) {
		c.sever()
		err = c.failed("write", errCut)
	}
	return n, err
}

// writable is why nothing can be written any more, as far as this side knows.
func (c *conn) writable() error {
	switch {
	case c.cut.Load():
		return errCut
	case c.shut.Load():
		return syscall.EPIPE
	default:
		return c.writes.over()
	}
}

func (c *conn) wrote(n int, err error) (int, error) {
	if err != nil && c.cut.Load() {
		err = c.failed("write", errCut)
	}
	return n, err
}

// pass passes a point, for as long as the deadline of its direction lets it.
func (c *conn) pass(p *fault.Point, g *gate) (_ fault.Damage, err error) {
	defer fault.Contain(&err)
	ctx := g.enter()
	defer ctx.leave()
	return p.Damage(ctx, c.attrs()...)
}

func (c *conn) attrs() []fault.Attr {
	if told := c.told.Load(); told != nil {
		return *told
	}
	local, remote := c.LocalAddr(), c.RemoteAddr()
	list := make([]fault.Attr, 0, 4)
	if local != nil {
		list = append(list, fault.Attr{Key: "network", Value: local.Network()}, fault.Attr{Key: "local", Value: local.String()})
	}
	if remote != nil {
		list = append(list, fault.Attr{Key: "remote", Value: remote.String()})
	}
	if c.address != "" {
		list = append(list, fault.Attr{Key: "address", Value: c.address})
	}
	c.told.Store(&list)
	return list
}

func (c *conn) failed(op string, err error) error {
	failed := &net.OpError{Op: op, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	if failed.Source != nil {
		failed.Net = failed.Source.Network()
	}
	return failed
}

// sever ends the connection as if the other side had.
func (c *conn) sever() {
	c.cut.Store(true)
	_ = c.Conn.Close()
}

func (c *conn) Close() (err error) {
	c.reads.close()
	c.writes.close()
	if c.points.Close.On() {
		if err = hit(context.Background(), c.points.Close, c.attrs()...); err != nil {
			err = c.failed("close", err)
		}
	}
	closed := c.Conn.Close()
	if err == nil && !c.cut.Load() {
		err = closed
	}
	return err
}

func (c *conn) SetDeadline(t time.Time) error {
	c.reads.set(t)
	c.writes.set(t)
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.reads.set(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writes.set(t)
	return c.Conn.SetWriteDeadline(t)
}
