// Package totals adds up what the circuits of a group counted, and the rules of fault injection, for adapters that report them.
package totals

import (
	"sync"

	"github.com/dougong-io/dougong/kit/breaker"
)

// Breakers add up what circuits counted, so that no sum falls when one of them is evicted.
type Breakers struct {
	mu   sync.Mutex
	sum  breaker.Counts
	seen map[string]named // at the last look
}

// named is what the circuits of one name counted together: keys may be called alike.
type named struct {
	breaker.Counts
	circuits int
}

// Look takes a snapshot, and adds what circuits counted up to it. Of those who look at once one waits for the other: with
// an older picture after a newer one, circuits would seem to have been replaced.
func (t *Breakers) Look(snapshot func() breaker.GroupStatus) (breaker.GroupStatus, breaker.Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := snapshot()
	return s, t.add(s.Circuits)
}

// add takes what circuits counted up to now. Of circuits that are called alike and of which one was evicted it takes
// too little rather than too much: nobody can tell which of them it was.
func (t *Breakers) add(circuits []breaker.Status) breaker.Counts {
	seen := make(map[string]named, len(circuits))
	for _, c := range circuits {
		n := seen[c.Name]
		n.circuits++
		n.Successes += c.Counts.Successes
		n.Failures += c.Counts.Failures
		n.Slow += c.Counts.Slow
		n.Ignored += c.Counts.Ignored
		n.Rejected += c.Counts.Rejected
		seen[c.Name] = n
	}
	for name, now := range seen {
		before := t.seen[name]
		fell := now.Successes < before.Successes || now.Failures < before.Failures || now.Rejected < before.Rejected || now.Ignored < before.Ignored
		if fell && before.circuits == 1 {
			before = named{} // another circuit under the same name
		}
		t.sum.Successes += max(0, now.Successes-before.Successes)
		t.sum.Failures += max(0, now.Failures-before.Failures)
		t.sum.Slow += max(0, now.Slow-before.Slow)
		t.sum.Ignored += max(now.Ignored, before.Ignored) - before.Ignored
		t.sum.Rejected += max(now.Rejected, before.Rejected) - before.Rejected
	}
	t.seen = seen
	return t.sum
}
