package breaker

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// lanes are sources of random numbers for sampling, each in a cache line of its own. A goroutine takes the one
// that the address of its stack falls on, so two seldom share one, and sharing costs time only. That is half the
// price of rand.Uint32, which would be half the price of a call.
var lanes [1 << laneBits]struct {
	state atomic.Uint64
	_     [56]byte
}

const laneBits = 6

// draw returns a random number for a permit: wyrand (Wang Yi, github.com/wangyi-fudan/wyhash), in its upper half.
// It decides what is counted, and nothing that an adversary could use.
func draw(p *Permit) uint32 {
	lane := uint64(uintptr(unsafe.Pointer(p))>>11) * 0x9e3779b97f4a7c15 >> (64 - laneBits)
	x := lanes[lane].state.Add(0xa0761d6478bd642f) ^ lane
	hi, lo := bits.Mul64(x, x^0xe7037ed1a0b428db)
	return uint32((hi ^ lo) >> 32)
}
