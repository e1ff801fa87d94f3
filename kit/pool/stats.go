package pool

// Stats are the counts of a pool since it was made. Each is exact once nobody gets or releases; while they do, those
// under way may be missing from some of them.
type Stats struct {
	Gets      uint64 `json:"gets"`      // leases begun
	Hits      uint64 `json:"hits"`      // of these, with a value that was kept
	News      uint64 `json:"news"`      // values made
	Puts      uint64 `json:"puts"`      // leases ended
	Discarded uint64 `json:"discarded"` // values dropped at their release: too large, or no room for them
	Collected uint64 `json:"collected"` // values that the garbage collector took from the pool, unused for a while
	Leaked    uint64 `json:"leaked"`    // values that the garbage collector found whose lease had not ended
	InUse     int    `json:"in_use"`    // leases that have not ended; what is leaked is one until the garbage collector finds it
	Kept      int    `json:"kept"`      // values that lie in the pool
	Bytes     int64  `json:"bytes"`     // of these
}

// add adds what one value has seen.
func (s *Stats) add(c *cell) {
	state := c.state.Load()
	s.News++
	s.Gets += (state + 1) / 2
	s.Puts += state / 2
	if state%2 == 1 {
		s.InUse++
	} else if size := c.bytes.Load(); size > 0 {
		s.Kept++
		s.Bytes += size
	}
}
