package ramp

// results are the last ones of a fixed number of calls.
type results struct {
	failed   []uint64 // a bit each
	count    int
	next     int
	failures int
}

// add counts a result among the last of, and returns how many of these are failures. With of = 0, none.
func (w *results) add(failed bool, of int) int {
	if of == 0 {
		return 0
	}
	if w.failed == nil {
		w.failed = make([]uint64, (of+63)/64)
	}
	word, bit := &w.failed[w.next/64], uint64(1)<<(w.next%64)
	if *word&bit != 0 {
		w.failures--
	}
	*word &^= bit
	if failed {
		*word |= bit
		w.failures++
	}
	w.count = min(w.count+1, of)
	w.next = (w.next + 1) % of
	return w.failures
}
