package faultnet

import (
	"context"
	"net"

	"github.com/dougong-io/dougong/kit/fault"
)

// Dial returns a function that dials as dial does, after the point Dial, and whose connections have the others around
// them. A dial that is held ends with its context.
func Dial(dial func(ctx context.Context, network, address string) (net.Conn, error), p Points) func(ctx context.Context, network, address string) (net.Conn, error) {
	if p.none() && p.Dial == nil {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if p.Dial.On() {
			err := hit(ctx, p.Dial, fault.Attr{Key: "network", Value: network}, fault.Attr{Key: "address", Value: address})
			if err != nil {
				return nil, &net.OpError{Op: "dial", Net: network, Addr: asked{network, address}, Err: err}
			}
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wrap(c, &p, address), nil
	}
}

// asked is an address that was asked for, and not resolved.
type asked struct{ network, address string }

func (a asked) Network() string { return a.network }
func (a asked) String() string  { return a.address }
