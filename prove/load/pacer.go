package load

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dougong-io/dougong/prove/load/schedule"
)

// A pacer decides who sends what and when. Requests that are due wait in the schedule itself, not in a queue: when every
// user is busy the schedule is simply not read on, and the user that is free first takes the request that has been
// due longest, with the time at which it was due. So a stall costs no memory and hides nothing.
type pacer struct {
	run    *run
	alarm  *alarm
	buffer requestBuffer // the dispatcher's

	mu       sync.Mutex
	schedule *schedule.Schedule // nil in a closed loop
	upcoming schedule.Due
	left     bool // upcoming is valid
	idle     []*user
	head     int // idle[head:] is first in, first out, so that every connection gets its share
	later    laterHeap
	armed    int64 // when the alarm goes off
	started  bool  // before that nothing is in flight, and the run is not over for it
	stopped  bool  // nothing is begun any more
	usedUp   bool  // there is no row left
	starved  bool  // requests waited while users were thinking
	lastDue  int64 // of what was begun
	rand     *rand.Rand
	seq      uint64
	flying   int
	settled  chan struct{} // closed when stopped or at the end of the schedule nothing is in flight any more
	until    int64         // closed loop: when it ends

	late lateness
}

// pick is what a new arrival asks for.
type pick struct {
	scenario *scenario
	seq      uint64
	row      int
}

type laterUser struct {
	at int64
	u  *user
}

type laterHeap []laterUser

func (h laterHeap) Len() int           { return len(h) }
func (h laterHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h laterHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *laterHeap) Push(x any)        { *h = append(*h, x.(laterUser)) }
func (h *laterHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

const never = int64(1) << 62

func newPacer(r *run, s *schedule.Schedule) *pacer {
	p := &pacer{run: r, schedule: s, armed: never, settled: make(chan struct{}), rand: rand.New(rand.NewPCG(r.seed, 0))}
	if s != nil {
		p.upcoming, p.left = s.Next()
	}
	return p
}

// pick draws what the next arrival asks for. p.mu is held. ok is false when the rows are used up.
func (p *pacer) pick() (pick, bool) {
	r := p.run
	k := pick{scenario: r.scenarios[0], seq: p.seq}
	if rows := r.table.Len(); rows > 0 {
		switch r.plan.Rows.Order {
		case RowsRandom:
			k.row = p.rand.IntN(rows)
		case RowsOnce:
			if p.seq >= uint64(rows) {
				p.usedUp = true
				return pick{}, false
			}
			k.row = int(p.seq)
		default:
			k.row = int(p.seq % uint64(rows))
		}
	}
	if len(r.scenarios) > 1 {
		at := p.rand.Float64() * r.weights[len(r.weights)-1]
		for i, up := range r.weights {
			if at < up {
				k.scenario = r.scenarios[i]
				break
			}
		}
	}
	p.seq++
	return k, true
}

// arrive gives the next arrival to u. p.mu is held; the arrival is due.
func (p *pacer) arrive(u *user) bool {
	k, ok := p.pick()
	if !ok {
		p.left = false
		return false
	}
	p.lastDue = int64(p.upcoming.At)
	u.begin(p.lastDue, p.upcoming.Part, k)
	p.upcoming, p.left = p.schedule.Next()
	return true
}

// next is called by a user that has ended a scenario. It returns true when the user has a new one to start at once.
func (p *pacer) next(u *user, now int64, class Class) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		p.land()
		return false
	}
	if p.schedule != nil {
		if due := int64(p.upcoming.At); p.left && due <= now && p.arrive(u) {
			if p.head < len(p.idle) { // another was free for it: the dispatcher is late
				p.late.record(due, now)
			} else {
				p.starve(due, now)
			}
			return true
		}
		p.park(u)
		return false
	}
	think := int64(p.run.plan.Closed.Think)
	if unreachable(class) {
		think = max(think, int64(closedBackoff)) // a closed loop must not spin on a target that is gone
	}
	if now+think >= p.until {
		p.land()
		return false
	}
	k, ok := p.pick()
	if !ok {
		p.land()
		return false
	}
	u.begin(now+think, 0, k)
	if think == 0 {
		return true
	}
	p.wait(u)
	return false
}

const closedBackoff = 20 * time.Millisecond

func unreachable(class Class) bool {
	switch class {
	case ClassRefused, ClassReset, ClassClosed, ClassTLS, ClassLocal, ClassProtocol:
		return true
	}
	return false
}

// starve marks the time for which a request waits while users think, who hold connections that nothing is in flight on.
// p.mu is held.
func (p *pacer) starve(due, now int64) {
	if len(p.later) > 0 && now-due > int64(5*time.Millisecond) {
		p.starved = true
		p.late.tick(due, now)
	}
}

// behind tells for how long the request has been due that is due longest and has not been sent. p.mu is not held.
func (p *pacer) behind(now int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.schedule == nil || !p.left || p.stopped {
		return 0
	}
	return max(now-int64(p.upcoming.At), 0)
}

// follow is called by a user that has a further step of its scenario. It returns true when that is due at once.
func (p *pacer) follow(u *user, now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped { // the step was never due
		p.land()
		return false
	}
	think := int64(u.current().think)
	u.due, u.sent = now+think, 0
	u.deadline.Store(u.due + p.run.timeout)
	if think == 0 {
		return true
	}
	p.wait(u)
	return false
}

// park makes u idle. p.mu is held.
func (p *pacer) park(u *user) {
	u.deadline.Store(0)
	p.idle = append(p.idle, u)
	p.land()
	if p.left && int64(p.upcoming.At) < p.armed {
		p.arm(int64(p.upcoming.At))
	}
}

// wait puts u off until its request is due. p.mu is held.
func (p *pacer) wait(u *user) {
	u.deadline.Store(0)
	heap.Push(&p.later, laterUser{u.due, u})
	if u.due < p.armed {
		p.arm(u.due)
	}
}

// land says that one user has nothing in flight any more. p.mu is held.
func (p *pacer) land() {
	p.flying--
	p.settle()
}

// settle closes settled once nothing is in flight and nothing more will be. p.mu is held.
func (p *pacer) settle() {
	if p.flying > 0 || !p.stopped && (p.left || !p.started) {
		return
	}
	select {
	case <-p.settled:
	default:
		close(p.settled)
	}
}

func (p *pacer) arm(at int64) {
	p.armed = at
	p.alarm.set(at)
}

// start begins a closed loop: all users at once, or open: all users idle.
func (p *pacer) start(users []*user) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	if p.schedule != nil {
		p.idle = append(p.idle, users...)
		p.arm(0)
		return
	}
	p.until = int64(p.run.plan.Closed.Duration)
	for _, u := range users {
		if k, ok := p.pick(); ok {
			u.begin(0, 0, k)
			p.flying++
			p.wait(u)
		}
	}
	p.settle()
}

// dispatch starts everything that is due and sets the alarm for what is due next. Only the dispatcher calls it.
func (p *pacer) dispatch() {
	for {
		now := p.run.clock.now()
		p.mu.Lock()
		p.armed = never
		u, at := p.due(now)
		if u == nil {
			if at < never {
				p.arm(at)
			}
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		p.late.record(u.due, now)
		u.dispatched = true
		u.link.start()
	}
}

// due takes a user whose request is due, or tells when to look again. p.mu is held.
func (p *pacer) due(now int64) (*user, int64) {
	at := never
	if len(p.later) > 0 {
		if p.later[0].at <= now {
			u := heap.Pop(&p.later).(laterUser).u
			u.deadline.Store(u.due + p.run.timeout)
			return u, 0
		}
		at = p.later[0].at
	}
	for p.left && !p.stopped {
		due := int64(p.upcoming.At)
		if due > now {
			return nil, min(at, due)
		}
		if p.head < len(p.idle) {
			u := p.idle[p.head]
			if !p.arrive(u) {
				break
			}
			p.idle[p.head] = nil
			if p.head++; p.head > 1024 && p.head > len(p.idle)/2 {
				p.idle = append(p.idle[:0], p.idle[p.head:]...)
				p.head = 0
			}
			p.flying++
			return u, 0
		}
		// Every user is busy: the first that is free takes it. What waited for the whole time-out has failed. That
		// users think while requests wait for them is a lack of ours, not of the target.
		p.starve(due, now)
		if due+p.run.timeout > now {
			return nil, min(at, due+p.run.timeout)
		}
		k, ok := p.pick()
		if !ok {
			p.left = false
			break
		}
		p.run.stats.missed(due, p.upcoming.Part, k.scenario.steps[0], now)
		p.run.see.missed(due, k.scenario.steps[0], now)
		p.upcoming, p.left = p.schedule.Next()
	}
	p.settle()
	return nil, at
}

// stop begins nothing any more. What was due by now and was never sent is counted as unfinished.
func (p *pacer) stop(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	for p.left && int64(p.upcoming.At) <= now {
		k, ok := p.pick()
		if !ok {
			break
		}
		p.run.stats.unsent(int64(p.upcoming.At), p.upcoming.Part, k.scenario.steps[0])
		p.run.see.unfinished(int64(p.upcoming.At), 0, k.scenario.steps[0])
		p.upcoming, p.left = p.schedule.Next()
	}
	p.left = false
	for _, waiting := range p.later { // between two steps: nothing is in flight
		if waiting.at <= now {
			waiting.u.unfinished()
		}
		p.flying--
	}
	p.later = nil
	p.settle()
}

// look tells how many requests are in flight, and how many are due without a user to send them.
func (p *pacer) look(now int64) (flying int, waiting uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	flying = p.flying - len(p.later)
	if p.schedule != nil && p.left && !p.stopped {
		if behind := now - int64(p.upcoming.At); behind > 0 && p.head == len(p.idle) {
			waiting = uint64(float64(behind) / 1e9 * p.schedule.Rate(p.upcoming.At))
		}
	}
	return flying, waiting
}

// rate is what the schedule asks for at a time of the run.
func (p *pacer) rate(now int64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.schedule.Rate(time.Duration(now))
}

// offered is how long load was offered when everything is settled: to the end of the schedule, unless the rows were
// used up before, or a closed loop had nothing left to do.
func (p *pacer) offered(total time.Duration, now int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.schedule == nil:
		return min(total, time.Duration(now))
	case p.usedUp: // as long as the next would have taken to come
		return min(total, max(time.Duration(p.lastDue), time.Duration(p.upcoming.At)))
	}
	return total
}
