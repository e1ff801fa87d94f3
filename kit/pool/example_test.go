package pool_test

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dougong-io/dougong/kit/pool"
)

// row is what a request needs for a moment.
type row struct{ values []float64 }

// Reset keeps the memory and lets go of the rest.
func (r *row) Reset() { r.values = r.values[:0] }

// PoolBytes lets the pool know what it keeps.
func (r *row) PoolBytes() int { return 24 + 8*cap(r.values) }

func Example() {
	rows, err := pool.New[row](nil, pool.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	lease := rows.Get()
	r := lease.Value()
	r.values = append(r.values, 1, 2, 3)
	fmt.Println(r.values)
	lease.Release()

	func() {
		defer func() { fmt.Println(errors.Is(recover().(error), pool.ErrMisuse)) }()
		lease.Release()
	}()
	s := rows.Snapshot()
	fmt.Println(s.Gets, s.Puts, s.InUse)
	// Output:
	// [1 2 3]
	// true
	// 1 1 0
}

func ExampleBuffers() {
	buffers, err := pool.NewBuffers(pool.DefaultBuffersConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	buffer := buffers.Get(600)
	defer buffer.Release()
	buffer.SetBytes(strconv.AppendInt(buffer.Bytes(), 42, 10)) // for what appends
	fmt.Fprintf(buffer.Writer(), " and %d", 43)                // for what writes
	fmt.Printf("%s, of %d\n", buffer.Bytes(), cap(buffer.Bytes()))
	// Output: 42 and 43, of 640
}
