package limit

import "time"

// estimate follows how long a slot is held: mean and mean deviation as moving averages, with the gains of
// RFC 6298 section 2 (1/8 and 1/4).
type estimate struct {
	mean, deviation time.Duration
	known           bool
}

func (e *estimate) add(held time.Duration) {
	if !e.known {
		e.mean, e.deviation, e.known = held, held/2, true
		return
	}
	// An outlier counts as no more than four times the mean, so that one slow request cannot make the limit
	// refuse those after it. Work that really became slower is followed in a few steps all the same.
	if most := 4*e.mean + time.Microsecond; held > most {
		held = most
	}
	off := held - e.mean
	e.mean += off / 8
	if off < 0 {
		off = -off
	}
	e.deviation += (off - e.deviation) / 4
}

// atLeast is the time that hardly any request stays below. Work that has less left is hopeless, whereas
// refusing by the mean would refuse the quick ones among slow ones.
func (e *estimate) atLeast() time.Duration { return max(0, e.mean-2*e.deviation) }

// forCompletions is the time until n more slots have been given back, when all of them are in use.
func (e *estimate) forCompletions(n, slots int) time.Duration {
	return time.Duration(float64(e.mean) * float64(n) / float64(slots))
}

const (
	retryUnknown = time.Second
	retryMost    = time.Minute
)

func (e *estimate) retryAfter(places, slots int) time.Duration {
	if !e.known {
		return retryUnknown
	}
	return min(retryMost, e.forCompletions(places, slots))
}
