package load

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/prove/load/script"
)

// A user makes one request at a time: one connection of HTTP/1.1 or WebSocket, one stream of HTTP/2 or gRPC.
//
// Its fields belong to whoever holds it: the pacer's idle list, the dispatcher that has just taken it from
// there, or its own goroutine while a request is in flight. Only deadline is read by others.
type user struct {
	run    *run
	stripe *stripe
	link   link
	vars   script.Context

	scenario *scenario
	step     int
	due      int64 // when the current request should have been sent
	sent     int64 // when it was; 0 when it was not
	part     int   // stage to which the current scenario belongs

	marked     bool // Options.Mark has said so of the answer that was just judged
	dispatched bool // by the dispatcher, which has counted how late it was itself

	deadline atomic.Int64 // of the request in flight, by the run's clock; 0 when there is none
}

// A link carries the requests of a user.
type link interface {
	// connect sets up what can be set up before load begins.
	connect(ctx context.Context) error
	// start sends the user's current request and returns without waiting for the answer. The link calls
	// user.finish once the answer is there. It is called by the dispatcher, never by the link itself.
	start()
	// expire ends the request in flight if it is past its deadline. It is called by the sweeper at any time.
	expire()
	// stop ends the link, with or without a request in flight, and waits for its goroutine.
	stop()
}

// outcome is how a request ended.
type outcome struct {
	class    Class // "" is success
	err      error // says more when class is not ""
	end      int64
	status   string // an HTTP code or a gRPC code's name; "" when there was no answer
	in, out  uint64
	messages uint64
}

func newUser(r *run, id int) *user {
	u := &user{run: r, stripe: r.stats.stripes[id%len(r.stats.stripes)]}
	u.vars = script.Context{
		Run:  r.id,
		Rand: rand.New(rand.NewPCG(r.seed, uint64(id)+1)),
		Vars: make([][]byte, r.variables),
		Now:  time.Now,
	}
	return u
}

// current is the request that the user makes.
func (u *user) current() *step { return u.scenario.steps[u.step] }

// begin makes the user start a scenario that was due at due.
func (u *user) begin(due int64, part int, pick pick) {
	u.scenario, u.step = pick.scenario, 0
	u.due, u.sent, u.part = due, 0, part
	u.vars.Seq, u.vars.Row = pick.seq, pick.row
	u.deadline.Store(due + u.run.timeout)
}

// finish records how the current request ended and finds what the user does next. It returns true when the next
// request is to be sent now, by the caller; otherwise the user has been handed on and the caller must not touch
// it any more.
func (u *user) finish(o outcome) bool {
	u.deadline.Store(0)
	u.stripe.record(u, &o)
	u.run.see.ended(u, &o)
	u.marked = false
	if o.class != "" {
		u.run.stats.sample(u, &o)
	}
	if o.class == "" && u.step+1 < len(u.scenario.steps) {
		u.step++
		return u.run.pace.follow(u, o.end)
	}
	return u.run.pace.next(u, o.end, o.class)
}

// unfinished counts the current request as neither good nor bad: the run was ended before its answer came.
func (u *user) unfinished() {
	u.stripe.unsent(u.due, u.part, u.current())
	u.run.see.unfinished(u.due, u.sent, u.current())
}

// expired tells whether the request in flight is past its deadline.
func (u *user) expired(now int64) bool {
	deadline := u.deadline.Load()
	return deadline != 0 && now >= deadline
}
