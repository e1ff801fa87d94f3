package inference

import (
	"unsafe"

	"github.com/dougong-io/dougong/kit/pool"
)

// scratch is what a request needs while it has a slot, kept for the next one.
type scratch struct {
	predict predictRequest
	infer   inferRequest
	outputs []float64
}

// scratchPool bounds what is kept of it.
func scratchPool() pool.Config { return pool.Config{MaxBytes: 64 << 20, MaxValueBytes: 2 << 20} }

// Reset keeps the memory and forgets the request.
func (sc *scratch) Reset() {
	sc.predict.reset()
	sc.infer.reset()
	sc.outputs = sc.outputs[:0]
}

// PoolBytes tells the pool what it keeps.
func (sc *scratch) PoolBytes() int {
	return int(unsafe.Sizeof(*sc)) + 8*(cap(sc.predict.values)+cap(sc.outputs)) + sc.infer.PoolBytes()
}
