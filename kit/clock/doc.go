// Package clock tells time to code that asks often, and lets tests tell it instead.
//
// A reading is a duration since the clock's own origin: it never goes backwards, and readings of one clock
// compare with each other only. [Exact] asks the system each time. [NewCoarse] remembers the last answer while
// it is asked more than about a thousand times a second, which makes a reading some thirty times cheaper and at
// most a few milliseconds old. [NewManual] stands still until a test advances it.
// [Skewed] is wrong on purpose; one that was ahead takes twice that time to be right again.
//
// Do not use a coarse clock for what is shorter than a hundred of its resolutions, nor any of them for dates:
// for these there is time.Now.
//
//	c := clock.NewCoarse(clock.Resolution).Clock()
//	begin := c.Now()
//	// …
//	took := c.Now() - begin
package clock
