package pool

// Lease is the right to use a value until it is released. It may be copied; all copies end together. What it leads to
// is for one goroutine at a time, as any value is.
type Lease[P Resettable] struct {
	item *item[P]
	gen  uint64
}

// Value returns the value. It panics with a [MisuseError] if the lease has ended. The pointer must not outlive the
// lease: only what goes through the lease is checked.
func (l Lease[P]) Value() P {
	if l.item == nil || !l.item.cell.live(l.gen) {
		l.ended("a lease was used after it was released")
	}
	return l.item.value
}

// Release resets the value and gives it back. It panics with a [MisuseError] if the lease has ended already; of
// several at the same moment, all but one do.
func (l Lease[P]) Release() {
	if l.item == nil || !l.item.cell.end(l.gen) {
		l.ended("a lease was released twice")
	}
	i := l.item
	p := i.home
	i.value.Reset()
	size := p.size
	if p.bytes != nil {
		size = p.bytes(i.value)
	}
	if p.ledger.keep(i.cell, size) {
		i.guard.seal(i.value)
		p.free.put(i)
	}
}

func (l Lease[P]) ended(what string) {
	if l.item == nil {
		panic(&MisuseError{What: "a lease that came from no pool was used"})
	}
	panic(l.item.cell.misuse(l.gen, what))
}
