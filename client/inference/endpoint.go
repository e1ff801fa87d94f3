package inferenceclient

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/ramp"
)

// wire speaks a protocol with one server. What it returns as an error lacks call, endpoint and attempts.
type wire interface {
	infer(ctx context.Context, h *head, m *message) (*Response, *Error)
	live(ctx context.Context, h *head) (bool, *Error)
	ready(ctx context.Context, h *head) (bool, *Error)
	modelReady(ctx context.Context, h *head, model, version string) (bool, *Error)
	metadata(ctx context.Context, h *head) (*ServerMetadata, *Error)
	modelMetadata(ctx context.Context, h *head, model, version string) (*ModelMetadata, *Error)
	close() error
}

// endpoint is one of the servers.
type endpoint struct {
	url     string
	wire    wire
	circuit *breaker.Circuit

	heldUntil atomic.Int64 // Unix nanoseconds; until then it wants to be left alone
}

// A server that says a longer time is asked again after this one: it is one answer of many, and may be wrong.
const maxHold = time.Minute

func (e *endpoint) hold(d time.Duration) {
	e.heldUntil.Store(time.Now().Add(min(d, maxHold)).UnixNano())
}

func (e *endpoint) held(now time.Time) bool { return now.UnixNano() < e.heldUntil.Load() }

// lease is leave to make one attempt.
type lease struct {
	endpoint *endpoint
	at       int // of the endpoints
	number   int // of the attempt in its call
	hedge    bool
	permit   breaker.Permit
}

// choose finds an endpoint for the next attempt of a call: of those that want to be asked the next in turn, first one
// that the call has not tried, and last the one that it tried last. Those whose circuit is open are passed over.
func (c *Client) choose(ctx context.Context, call string, h *head, past *attempts) (*lease, *Error) {
	n := len(c.endpoints)
	first := int(c.turn.Add(1) % uint32(n))
	now := time.Now()
	var refused error
	for rank := range maxRank {
		for i := range n {
			at := (first + i) % n
			e := c.endpoints[at]
			if past.rank(at, e.held(now)) != rank {
				continue
			}
			l := &lease{endpoint: e, at: at}
			if l.permit, refused = e.circuit.AllowCall(breaker.Call{Hash: ramp.HashString(h.id), Ctx: ctx}); refused == nil {
				past.add(l)
				return l, nil
			}
			c.parts.observer.Withheld(Withheld{Call: call, Endpoint: e.url, Why: BreakerOpen})
		}
	}
	if ctx.Err() != nil {
		return nil, broken(ctx, refused)
	}
	failed := &Error{Kind: ErrUnavailable, cause: refused}
	if rejected, ok := errors.AsType[*breaker.RejectedError](refused); ok {
		failed.RetryAfter = rejected.RetryAfter()
	}
	return nil, failed
}

// attempts are what a call has tried.
type attempts struct {
	made  int
	tried uint64 // a bit for each endpoint
	last  int
}

func (a *attempts) add(l *lease) {
	a.made++
	a.tried |= 1 << l.at
	a.last = l.at
	l.number = a.made
}

const maxRank = 6

// rank is lower for what is rather to be asked.
func (a *attempts) rank(at int, held bool) int {
	rank := 0
	if a.tried&(1<<at) != 0 {
		rank++
		if a.last == at {
			rank++
		}
	}
	if held {
		rank += 3
	}
	return rank
}

// another tells whether there is an endpoint beside the one at that place that does not want to be left alone.
func (c *Client) another(than int) bool {
	now := time.Now()
	for at, e := range c.endpoints {
		if at != than && !e.held(now) {
			return true
		}
	}
	return false
}
