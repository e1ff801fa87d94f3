package pool

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Resettable is what a [Pool] takes: a pointer whose Reset makes the value as good as new. Reset keeps the memory that
// is worth keeping, as in s = s[:0], and lets go of everything else. It is called by Release.
type Resettable interface {
	Reset()
}

// Sized is what values have that own memory beyond themselves, slices for example: how many bytes they take now,
// themselves included. It is called by Release, after Reset. Of a value without it the bytes of its type count.
type Sized interface {
	PoolBytes() int
}

// Pool keeps values of one type. It is safe for concurrent use.
type Pool[P Resettable] struct {
	newOne func() P
	bytes  func(P) int64 // nil: always shallow
	size   int64         // of the value's type
	ledger *ledger
	free   free
}

// New returns a pool that makes a value with newOne where none is kept; nil makes the zero value. *T needs the method
// Reset, or it does not compile.
func New[T any, P interface {
	*T
	Resettable
}](newOne func() P, c Config) (*Pool[P], error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	if newOne == nil {
		newOne = func() P { return new(T) }
	}
	p := &Pool[P]{newOne: newOne, size: int64(unsafe.Sizeof(*new(T))), ledger: newLedger(c.MaxBytes, c.MaxValueBytes)}
	if _, ok := any(P(nil)).(Sized); ok {
		p.bytes = func(v P) int64 { return int64(any(v).(Sized).PoolBytes()) }
	}
	return p, nil
}

// Get leases a value: one that was released, or a new one.
func (p *Pool[P]) Get() Lease[P] {
	i, ok := p.free.get().(*item[P])
	if !ok {
		i = &item[P]{value: p.newOne(), home: p}
		i.cell = p.ledger.open()
		runtime.AddCleanup(i, p.ledger.close, i.cell)
	}
	gen := i.cell.begin()
	if ok {
		i.cell.mustBeWhole(gen, i.guard.broken(i.value))
	}
	return Lease[P]{i, gen}
}

// Snapshot tells how the pool fares. It takes time in proportion to the number of values that there are.
func (p *Pool[P]) Snapshot() Stats { return p.ledger.snapshot() }

// Leaks lists the values that the garbage collector found and that were never released, as far as it has looked. It
// is empty without -tags dougong_pooldebug; [Stats.Leaked] counts them always.
func (p *Pool[P]) Leaks() []Leak { return p.ledger.leaks.list() }

// item is a value with what goes with it.
type item[P Resettable] struct {
	value P
	cell  *cell
	home  *Pool[P]
	guard guard
}
