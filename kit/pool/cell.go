package pool

import "sync/atomic"

// cell is what is known of one value. It outlives the value, so that what happened to it still counts when the garbage
// collector has taken it. One atomic word is the generation of leases and the count of gets and releases in one: it
// is on a cache line that only the holder of the value writes, so counting costs no contention.
type cell struct {
	state atomic.Uint64 // odd while the value is out; each get and each release adds one
	bytes atomic.Int64  // that the value takes of the pool's room; 0: none yet; dropped: it was not kept
	index int           // in ledger.cells, under ledger.mu
	trace trace
	_     [40]byte // 64 bytes without a trace
}

const dropped = -1

// begin makes a value that lies in the pool, or is new, one that is out, and returns the generation of its lease. Its
// caller is the only one who has the value.
func (c *cell) begin() (gen uint64) {
	gen = c.state.Add(1)
	c.trace.got(gen)
	return gen
}

// live tells whether a lease of that generation has not ended.
func (c *cell) live(gen uint64) bool { return c.state.Load() == gen }

// end ends the lease of that generation, or returns false if it has ended.
func (c *cell) end(gen uint64) bool {
	if !c.state.CompareAndSwap(gen, gen+1) {
		return false
	}
	c.trace.released(gen)
	return true
}

func (c *cell) misuse(gen uint64, what string) *MisuseError {
	got, released := c.trace.stacks(gen)
	return &MisuseError{What: what, Got: got, Released: released}
}

// mustBeWhole panics if what has just become the lease of generation gen was written to since the one before it ended.
func (c *cell) mustBeWhole(gen uint64, broken string) {
	if broken != "" {
		panic(c.misuse(gen-2, "a value was written to after it was released: "+broken))
	}
}
