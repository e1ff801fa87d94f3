package fault

import "slices"

// Damage is what is to happen to a message, or to a stream of bytes. The zero Damage does nothing.
type Damage struct {
	Drop bool // do nothing, and report success

	cut         bool
	after       int64 // bytes that are left, if cut
	corruptions []corruption
}

type corruption struct {
	offset, length int64 // offset -1: not known before the length is
	mode           CorruptMode
	at             float64 // where, as a share of what there is, if offset is -1
	rand           *source
}

func newCorruption(c *Corrupt, r *source) corruption {
	d := corruption{offset: -1, length: max(1, c.Length), mode: c.Mode, rand: r}
	if c.Offset != nil {
		d.offset = *c.Offset
	} else {
		d.at = r.float64()
	}
	return d
}

func (d *Damage) truncate(after int64) {
	if !d.cut || after < d.after {
		d.cut, d.after = true, after
	}
}

// Any reports whether there is anything to do.
func (d *Damage) Any() bool { return d.Drop || d.cut || len(d.corruptions) > 0 }

// Cut is how many bytes of a stream pass, and whether there is such a bound.
func (d *Damage) Cut() (after int64, cut bool) { return d.after, d.cut }

// Corrupts reports whether Apply may change bytes: a caller who must not have his own changed makes a copy first.
func (d *Damage) Corrupts() bool { return len(d.corruptions) > 0 }

// Apply damages, in place, bytes that begin at an offset of the stream, and returns those that are left. A damage
// without an offset of its own falls on the first bytes that Apply is given.
func (d *Damage) Apply(b []byte, offset int64) []byte {
	for i := range d.corruptions {
		c := &d.corruptions[i]
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
	if d.cut {
		return b[:min(max(d.after-offset, 0), int64(len(b)))]
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
