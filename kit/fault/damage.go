package fault

import "slices"

// Damage is what is to happen to a message, or to a stream of bytes. The zero Damage does nothing. Each part of it ends
// with the rule that ordered it: a stream that keeps a Damage asks it anew each time.
type Damage struct {
	Drop bool // do nothing, and report success; when it was drawn. Dropped tells of now

	dropper     *tally
	cuts        []cut
	corruptions []corruption
}

type cut struct {
	after int64 // bytes that are left
	of    *tally
}

type corruption struct {
	of             *tally
	offset, length int64 // offset -1: not known before the length is
	mode           CorruptMode
	at             float64 // where, as a share of what there is, if offset is -1
	rand           *source
}

func newCorruption(of *tally, c *Corrupt, r *source) corruption {
	d := corruption{of: of, offset: -1, length: max(1, c.Length), mode: c.Mode, rand: r}
	if c.Offset != nil {
		d.offset = *c.Offset
	} else {
		d.at = r.float64()
	}
	return d
}

// Dropped reports whether the rule stands that has the message, or the stream, dropped.
func (d *Damage) Dropped() bool { return d.Drop && d.dropper.holds() }

// Any reports whether there is anything to do now.
func (d *Damage) Any() bool {
	_, cut := d.Cut()
	return cut || d.Dropped() || d.Corrupts()
}

// Cut is how many bytes of a stream pass, and whether there is such a bound now.
func (d *Damage) Cut() (after int64, isCut bool) {
	for _, c := range d.cuts {
		if c.of.holds() && (!isCut || c.after < after) {
			after, isCut = c.after, true
		}
	}
	return after, isCut
}

// Corrupts reports whether Apply may change bytes: a caller who must not have his own changed makes a copy first.
func (d *Damage) Corrupts() bool {
	for i := range d.corruptions {
		if d.corruptions[i].of.holds() {
			return true
		}
	}
	return false
}

// Apply damages, in place, bytes that begin at an offset of the stream, and returns those that are left. A damage
// without an offset of its own falls on the first bytes that Apply is given.
func (d *Damage) Apply(b []byte, offset int64) []byte {
	for i := range d.corruptions {
		c := &d.corruptions[i]
		if !c.of.holds() {
			continue
		}
		if c.offset < 0 {
			if len(b) == 0 {
				continue
			}
			c.offset = offset + int64(c.at*float64(len(b)))
		}
		// Compared by differences: offsets may be as large as their type.
		from := min(max(c.offset-offset, 0), int64(len(b)))
		gone := max(offset-c.offset, 0) // bytes of the damage that lie before b
		to := from
		if left := c.length - gone; left > 0 {
			to = from + min(left, int64(len(b))-from)
		}
		c.apply(b[from:to])
	}
	if after, cut := d.Cut(); cut {
		return b[:min(max(after-offset, 0), int64(len(b)))]
	}
	return b
}

func (c *corruption) apply(b []byte) {
	switch c.mode {
	case Zeroed:
		clear(b)
	case Random:
		for i := range b {
			b[i] ^= byte(1 + c.rand.float64()*255) // never 0: it is another byte
		}
	default:
		for i := range b {
			b[i] = ^b[i]
		}
	}
}

// Copy is Apply on a copy, for bytes that belong to somebody else.
func (d *Damage) Copy(b []byte, offset int64) []byte {
	if !d.Corrupts() {
		return d.Apply(b, offset)
	}
	return d.Apply(slices.Clone(b), offset)
}
