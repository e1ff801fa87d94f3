package limit

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Adaptive makes a [Limit] find the number of its slots between Min and Max, beginning with Config.Slots, by how
// long they are held.
//
// The law is a gradient: of the latency without a queue over the latency now, as in Netflix's Gradient limit
// (Landau, Thurston, Bozarth, "Performance Under Load", Netflix Technology Blog, 2018), with the unloaded latency
// measured by lowering the limit now and then, as in Envoy's adaptive concurrency filter:
//
//	gradient = unloaded × (1 + Tolerance) / latency, from 1/2 to 1
//	limit    = gradient × limit + √limit
//
// What differs, and why:
//
//   - To measure, the limit is lowered by a quarter at a time, and only until that no longer makes anything
//     quicker, instead of to a minimum: so measuring costs little of the throughput, and it also finds the way
//     down from a limit that began far too high.
//   - A cut that makes nothing quicker shows that no queue was the reason: then what is measured becomes the
//     unloaded latency, and the limit returns to where it was. Work that became slower, or that is further away,
//     is thus followed after some round trips, not at the next measurement, and the limit does not fall to Min.
//   - Without a queue the limit grows by half, as in a slow start, since √limit takes long to cross five times the
//     distance.
//   - A limit that nobody reached is never raised: its latency says nothing about more.
//   - Overloaded answers lower the limit by three tenths (the factor of CUBIC, RFC 9438 section 4.6) at most once for all
//     that began before the last change.
type Adaptive struct {
	Min       int     `json:"min" doc:"Fewest slots."`
	Max       int     `json:"max" doc:"Most slots."`
	Tolerance float64 `json:"tolerance" doc:"By what part work may take longer than without a queue before slots are taken away, above 0. More keeps the engine busier when its times vary much, and makes all wait longer."`
}

// DefaultAdaptive returns 1 to 1,024 slots and a tolerance of a quarter.
func DefaultAdaptive() Adaptive { return Adaptive{Min: 1, Max: 1024, Tolerance: 0.25} }

func (a Adaptive) faults(slots int) []error {
	var faults []error
	if a.Min < 1 {
		faults = append(faults, fmt.Errorf("adaptive.min: must be at least 1, is %d", a.Min))
	}
	if a.Max > maxPlaces {
		faults = append(faults, fmt.Errorf("adaptive.max: must be at most %d, is %d", maxPlaces, a.Max))
	}
	if a.Max < a.Min {
		faults = append(faults, fmt.Errorf("adaptive.max: must be at least adaptive.min, %d, is %d", a.Min, a.Max))
	}
	if a.Min >= 1 && a.Max >= a.Min && (slots < a.Min || slots > a.Max) {
		faults = append(faults, fmt.Errorf("slots: must be from adaptive.min to adaptive.max, %d to %d, is %d", a.Min, a.Max, slots))
	}
	if !(a.Tolerance > 0 && a.Tolerance <= 10) {
		faults = append(faults, fmt.Errorf("adaptive.tolerance: must be above 0 and at most 10, is %v", a.Tolerance))
	}
	return faults
}

// Validate reports every fault at once.
func (a Adaptive) Validate() error { return errors.Join(a.faults(a.Min)...) }

const (
	lower         = 0.75 // what is left of the limit when it is lowered to see whether that helps
	lowerFast     = 0.5  // the same after it has helped
	farTooHigh    = 3    // times in a row
	backOff       = 0.7  // what is left of it after an Overloaded
	measureEvery  = 5 * time.Second
	windowLeast   = 100 * time.Millisecond
	windowSamples = 64 // a window of less than a second has at least so many
	windowFew     = 8  // and any other so many
	windowLong    = time.Second
)

// controller is what an adaptive limit has learned. Each decision is made after a window, of all who end in it. It
// begins somewhat more than one latency after the last change, when nearly all are through who began before. To
// leave out the last of them, too, would leave out the slow ones alone.
type controller struct {
	config Adaptive
	limit  float64
	full   bool // every slot was in use at some time since the window began; set by the limit

	unloaded float64       // latency without a queue, ns; 0: not known
	measured time.Duration // when

	lowering bool    // to see whether that helps
	helped   int     // how often in a row it did
	held     float64 // latency before it was lowered, ns
	from     float64 // limit before it was lowered

	began, settled, end time.Duration // of the window
	count               int
	sum                 float64
}

func newController(config Adaptive, slots int) *controller {
	return &controller{config: config, limit: float64(slots)}
}

func (c *controller) slots() int { return int(c.limit) }

// add takes in work that was done.
func (c *controller) add(since, now time.Duration) {
	if now < c.settled {
		return
	}
	c.count++
	c.sum += float64(now - since)
	if now < c.end || c.count < windowFew || c.count < windowSamples && now < c.end+windowLong {
		return
	}
	latency := max(1, c.sum/float64(c.count))
	c.decide(latency, now)
	c.open(latency, now)
}

// overloaded takes in that there is too much.
func (c *controller) overloaded(since, now time.Duration) {
	if since < c.began {
		return // the answer to an earlier limit
	}
	c.set(c.limit * backOff)
	c.lowering = false
	c.open(max(1, float64(now-since)), now)
}

// open begins a window.
func (c *controller) open(latency float64, now time.Duration) {
	c.began = now
	c.settled = now + time.Duration(1.25*latency)
	c.end = c.settled + max(windowLeast, time.Duration(1.5*latency))
	c.count, c.sum, c.full = 0, 0, false
}

func (c *controller) set(limit float64) {
	c.limit = min(max(limit, float64(c.config.Min)), float64(c.config.Max))
}

func (c *controller) decide(latency float64, now time.Duration) {
	switch {
	case c.lowering:
		c.lowered(latency, now)
	case !c.full:
		// Nobody waited for a slot, so nothing here makes a queue behind them, unless just so.
		if c.unloaded == 0 || latency < c.unloaded {
			c.unloaded = latency
		} else {
			c.unloaded += (latency - c.unloaded) / 8
		}
		c.measured = now
	case c.unloaded == 0 || now-c.measured >= measureEvery:
		c.tryLower(latency, now)
	default:
		c.follow(latency, now)
	}
}

// follow applies the gradient.
func (c *controller) follow(latency float64, now time.Duration) {
	if latency < c.unloaded {
		c.unloaded += (latency - c.unloaded) / 4 // not at once: it varies
	}
	switch gradient := c.unloaded * (1 + c.config.Tolerance) / latency; {
	case gradient < 1/(1+c.config.Tolerance)/(1+c.config.Tolerance):
		c.tryLower(latency, now)
	case latency <= c.unloaded*(1+c.config.Tolerance/2):
		c.set(c.limit * 1.5)
	default:
		c.set(max(0.5, min(1, gradient))*c.limit + math.Sqrt(c.limit))
	}
}

// tryLower lowers the limit to see whether that helps.
func (c *controller) tryLower(latency float64, now time.Duration) {
	if c.lowering {
		c.helped++
	} else {
		c.helped = 0
	}
	c.lowering, c.held, c.from = true, latency, c.limit
	if c.helped < farTooHigh {
		c.set(c.limit * lower)
	} else {
		c.set(c.limit * lowerFast)
	}
	if int(c.limit) >= int(c.from) { // at the minimum there is nothing to learn by it
		c.known(latency, now)
	}
}

// lowered judges whether that has helped.
func (c *controller) lowered(latency float64, now time.Duration) {
	if part := c.limit / c.from; latency < c.held*(1+part)/2 {
		c.tryLower(latency, now)
		return
	}
	c.known(latency, now)
}

// known ends the lowering: there is no queue at this limit, and hardly one at that before.
func (c *controller) known(latency float64, now time.Duration) {
	c.set(c.from)
	c.lowering, c.unloaded, c.measured = false, latency, now
}
