package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	restRate  = 1 << 20 // bytes a second: probes, scrapes and a request now and then allocate less
	restSpare = 8 << 20 // what is worth a collection
	restEvery = 12      // times after, between two releases: 2 minutes, if that is 10 s. Go itself collects the garbage of an idle process as often
)

// rest gives back to the system what a time of traffic left behind. Go alone keeps it: it would need free memory for
// the next such time, so it holds as much as the last one took, for as long as the process lives. Others on the
// machine could have it meanwhile, and the first requests of the next time pay a page fault for each 4 KiB.
//
// It belongs to the goroutine that calls look.
type rest struct {
	after     time.Duration // 0: never
	allocated func() uint64
	spare     func() (spare, live uint64)
	release   func()

	seen    uint64    // allocated at the last look
	looked  time.Time // zero before the first
	since   time.Time // no traffic since then
	traffic bool      // since the last release
	last    time.Time // release
}

func newRest(after time.Duration) rest {
	return rest{after: after, allocated: heapAllocated, spare: heapSpare, release: debug.FreeOSMemory}
}

// look is called once in a while. It releases once after each time of traffic, so that a process with little to do,
// which gathers garbage slowly, does not collect for that all the time.
func (r *rest) look(now time.Time) {
	if r.after == 0 {
		return
	}
	allocated := r.allocated()
	if r.looked.IsZero() || float64(allocated-r.seen) > restRate*now.Sub(r.looked).Seconds() {
		r.traffic, r.since = true, now
	}
	r.seen, r.looked = allocated, now
	if !r.traffic || now.Sub(r.since) < r.after || now.Sub(r.last) < restEvery*r.after {
		return
	}
	r.traffic = false
	// A large heap costs more to collect, so there has to be more in it.
	if spare, live := r.spare(); spare >= max(restSpare, live/4) {
		r.release()
		r.last = now
	}
}

// heapAllocated is how much was ever allocated.
func heapAllocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// heapSpare is what the heap has of the system's memory beyond what the last collection left alive.
func heapSpare() (spare, live uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		spare += s.Value.Uint64()
	}
	live = liveHeap()
	return spare - min(live, spare), live
}

// afterStart is a member's Run that first gives back what the members before it needed to start and need no more: the
// text of models and the working tables of their compiler are several times what is left of them. Before the public
// listeners open, no request waits for that collection, and none pays for the garbage later.
func afterStart(after time.Duration, run func(ctx context.Context, ready func()) error) func(ctx context.Context, ready func()) error {
	return func(ctx context.Context, ready func()) error {
		if after > 0 {
			debug.FreeOSMemory()
		}
		return run(ctx, ready)
	}
}
