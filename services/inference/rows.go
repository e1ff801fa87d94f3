package inference

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// blockRows is how many rows are scored in one go: below a millisecond's work for most models. Between two blocks the
// deadline is looked at, and the slot goes to whoever waits for it.
const blockRows = 256

// predictRows scores rows into outputs, which it grows as needed.
func (x *exchange) predictRows(version *repository.Version, values []float64, rows int, outputs []float64) ([]float64, error) {
	outputs = roomForOutputs(outputs, rows*version.Outputs())
	var err error
	if rows <= blockRows {
		err = version.Predict(outputs, values)
	} else {
		err = x.predictBlocks(version, values, rows, outputs)
	}
	if err != nil {
		return outputs, err
	}
	return outputs, finite(version, outputs)
}

func roomForOutputs(outputs []float64, n int) []float64 {
	if cap(outputs) < n {
		return make([]float64, n)
	}
	return outputs[:n]
}

// finite tells whether outputs are predictions.
func finite(version *repository.Version, outputs []float64) error {
	for _, y := range outputs {
		if math.IsNaN(y) || math.IsInf(y, 0) {
			return fmt.Errorf("model %s version %s answered %v, which is no prediction", version.Model, version.Name, y)
		}
	}
	return nil
}

// predictBlocks scores many rows: block after block in its own slot, and beside it in slots that nobody else wants.
func (x *exchange) predictBlocks(version *repository.Version, values []float64, rows int, outputs []float64) error {
	b := &blocks{version: version, values: values, outputs: outputs, rows: rows}
	defer func() {
		b.next.Store(int64(rows)) // also when this goroutine panics
		b.helpers.Wait()          // they write to the memory of the request
	}()
	// Who waits between two blocks holds the memory of its rows: it counts as that of a body does. Where there is no room
	// the request keeps its slot, and holds nobody else's memory up.
	held := share{of: &x.service.memory}
	defer held.give()
	yields := held.take(8 * (cap(values) + cap(outputs)))
	x.permit.Long() // if it was not before
	most := int64(runtime.GOMAXPROCS(0) - 1)
	for b.one() {
		if expired(x.ctx) {
			b.stop(context.DeadlineExceeded)
			break
		}
		if yields {
			asks := time.Since(x.start)
			err := x.permit.Yield(x.ctx)
			x.yielded += time.Since(x.start) - asks
			if err != nil {
				b.stop(err)
				break
			}
		}
		if b.helping.Load() < most && b.left() > 1 {
			if slot, ok := x.permit.Extra(); ok {
				b.helping.Add(1)
				b.helpers.Go(func() { b.help(slot) })
			}
		}
	}
	b.helpers.Wait()
	if p := b.panicked.Load(); p != nil {
		panic(*p)
	}
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// largeBody is that of a request which takes about as long to read as a block takes to score. While it waits for its slot,
// other large requests do not give it theirs, as they give it to small ones: if all took turns at each block, all would
// end late, and under more load than can be borne past their deadlines, with the work on them lost.
const largeBody = 64 << 10

// blocks is the work of a request of many rows. Who has a slot takes the next block.
type blocks struct {
	version         *repository.Version
	values, outputs []float64
	rows            int

	next     atomic.Int64 // row that nobody has taken
	failed   atomic.Pointer[error]
	panicked atomic.Pointer[any]
	helpers  sync.WaitGroup
	helping  atomic.Int64 // helpers that have not ended
}

// left is how many of them nobody has taken.
func (b *blocks) left() int { return (b.rows - int(b.next.Load()) + blockRows - 1) / blockRows }

// one scores a block, and tells whether there is another one to take.
func (b *blocks) one() bool {
	first := int(b.next.Add(blockRows)) - blockRows
	if first >= b.rows {
		return false
	}
	last := min(first+blockRows, b.rows)
	width, perRow := b.version.Features(), b.version.Outputs()
	if err := b.version.Predict(b.outputs[first*perRow:last*perRow], b.values[first*width:last*width]); err != nil {
		b.stop(err)
	}
	return int(b.next.Load()) < b.rows
}

// stop has nobody take another block.
func (b *blocks) stop(err error) {
	b.failed.CompareAndSwap(nil, &err)
	b.next.Store(int64(b.rows))
}

// help scores blocks in an extra slot while nobody else wants it. A panic is the request's, not the process's.
func (b *blocks) help(slot limit.Slot) {
	defer b.helping.Add(-1)
	defer slot.Done()
	defer func() {
		if p := recover(); p != nil {
			b.panicked.CompareAndSwap(nil, &p)
			b.stop(nil)
		}
	}()
	for b.one() && slot.Keep() {
	}
}
