package pool

import "math/bits"

// classes are sizes of buffers: four to each power of two (4, 5, 6 and 7 quarters of it), from a smallest one up. So
// what is asked for gets less than a quarter more, from the smallest size on.
type classes struct {
	shift int // the smallest size is 4 << shift
	count int
}

// newClasses has sizes from smallest, a power of two, to the first that is not below greatest.
func newClasses(smallest, greatest int) classes {
	c := classes{shift: bits.TrailingZeros(uint(smallest)) - 2}
	c.count = c.above(greatest) + 1
	return c
}

// above is the class of the smallest size in which n bytes have room; it may be beyond the greatest.
func (c classes) above(n int) int {
	if n <= 4<<c.shift {
		return 0
	}
	e := bits.Len(uint(n-1)) - 3
	return (e-c.shift)*4 + (n-1)>>e - 4 + 1
}

// below is the class of the greatest size that is at most n, or -1; it may be beyond the greatest.
func (c classes) below(n int) int {
	if n < 4<<c.shift {
		return -1
	}
	e := bits.Len(uint(n)) - 3
	return (e-c.shift)*4 + n>>e - 4
}

func (c classes) size(class int) int { return (4 + class%4) << (c.shift + class/4) }
