package inferenceclient

import "sync/atomic"

// tokens is a bucket of millionths of extra attempts.
type tokens struct {
	have         atomic.Int64
	ratio, burst int64
}

const token = 1_000_000

func newTokens(b Budget) *tokens {
	t := &tokens{ratio: int64(b.Ratio * token), burst: int64(b.Burst) * token}
	t.have.Store(t.burst)
	return t
}

// earn is for each call.
func (t *tokens) earn() {
	for {
		have := t.have.Load()
		more := min(have+t.ratio, t.burst)
		if more == have || t.have.CompareAndSwap(have, more) {
			return
		}
	}
}

// take asks for one extra attempt.
func (t *tokens) take() bool {
	for {
		have := t.have.Load()
		if have < token {
			return false
		}
		if t.have.CompareAndSwap(have, have-token) {
			return true
		}
	}
}
