package limit

import "time"

// estimate follows how long a slot is held: mean and mean deviation as moving averages, with the gains of
// RFC 6298 section 2 (1/8 and 1/4).
//
// One outlier must not make the limit refuse those after it, so a time counts as no more than four times the
// mean. What that hides is believed when it happens again: at once if the next says the same (and then given up
// if the one after that does not), and as an addition to the mean if it comes now and then, as when a process with
// a quota of the CPU is held up.
type estimate struct {
	mean, deviation time.Duration
	known           bool

	long      time.Duration // the last hold if it was an outlier, else 0
	longUntil time.Duration // when it ended
	before    time.Duration // the mean that two outliers have put out of force, until one that began later agrees; else 0

	rare    time.Duration // mean of what is cut off, as far as it is believed
	suspect time.Duration // what was cut off last; it fades
}

const (
	outlier  = 4  // times the mean, and parts of it
	rareGain = 32 // one over the gain of rare
	fading   = 64 // holds after which a suspect is as good as forgotten
)

// add takes in a hold from since to now.
func (e *estimate) add(since, now time.Duration) {
	held := max(0, now-since)
	if !e.known {
		e.begin(held)
		return
	}
	if e.before > 0 && since >= e.longUntil {
		if held < e.mean/outlier { // it was a coincidence
			e.mean, e.deviation = e.before, e.before/2
		}
		e.before = 0
	}
	if most := outlier*e.mean + time.Microsecond; held > most {
		switch {
		case e.long == 0:
			e.long, e.longUntil = held, now
			cut := held - most
			e.rare += (min(cut, e.suspect) - e.rare) / rareGain
			e.suspect = cut
			held = most
		case since < e.longUntil:
			return // held up by the same thing as the one before: no news
		default:
			before := e.mean
			e.begin(min(held, e.long))
			e.before, e.longUntil = before, now
			return
		}
	} else {
		e.long = 0
		e.rare -= e.rare / rareGain
		e.suspect -= e.suspect / fading
	}
	off := held - e.mean
	e.mean += off / 8
	if off < 0 {
		off = -off
	}
	e.deviation += (off - e.deviation) / 4
}

// begin forgets what was known. The deviation says that one measurement proves nothing.
func (e *estimate) begin(held time.Duration) {
	*e = estimate{mean: held, deviation: held / 2, known: true}
}

// expected is the mean with what happens now and then.
func (e *estimate) expected() time.Duration { return e.mean + e.rare }

// atLeast is the time that hardly any request stays below. Work that has less left is hopeless, whereas
// refusing by the mean would refuse the quick ones among slow ones.
func (e *estimate) atLeast() time.Duration { return max(0, e.mean-2*e.deviation) }

// forCompletions is the time until n more slots have been given back, when all of them are in use.
func (e *estimate) forCompletions(n, slots int) time.Duration {
	return time.Duration(float64(e.expected()) * float64(n) / float64(slots))
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
