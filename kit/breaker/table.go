package breaker

import (
	"hash/maphash"
	"sync/atomic"
)

// entry is a circuit in the table of its group.
type entry[K comparable] struct {
	Circuit
	key K
}

// table finds the circuit of a key without a lock: open addressing with linear probing, whose slots are written
// under the lock of the group. A table that is too full is replaced by another. A reader that still has the old
// one may miss what is new, and then asks again under the lock.
type table[K comparable] struct {
	seed  maphash.Seed
	mask  uint64
	slots []atomic.Pointer[entry[K]]
	used  int       // slots that are not nil
	gone  *entry[K] // marks a slot whose circuit was removed
}

func newTable[K comparable](seed maphash.Seed, room int) *table[K] {
	size := 16
	for size*5 < room*8 { // at most five eighths are used
		size *= 2
	}
	return &table[K]{seed: seed, mask: uint64(size - 1), slots: make([]atomic.Pointer[entry[K]], size), gone: new(entry[K])}
}

func (t *table[K]) find(key K) *entry[K] {
	hash := maphash.Comparable(t.seed, key)
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		e := t.slots[i].Load()
		if e == nil {
			return nil
		}
		if e.hash == hash && e.key == key && e != t.gone {
			return e
		}
	}
}

// full reports whether another entry would make chains long.
func (t *table[K]) full() bool { return (t.used+1)*8 > len(t.slots)*5 }

// put adds an entry that is not there. The lock of the group is held.
func (t *table[K]) put(e *entry[K]) {
	for i := e.hash & t.mask; ; i = (i + 1) & t.mask {
		switch t.slots[i].Load() {
		case nil:
			t.used++
		case t.gone:
		default:
			continue
		}
		t.slots[i].Store(e)
		return
	}
}

// remove takes an entry out. The lock of the group is held.
func (t *table[K]) remove(e *entry[K]) {
	for i := e.hash & t.mask; ; i = (i + 1) & t.mask {
		if t.slots[i].Load() == e {
			t.slots[i].Store(t.gone)
			return
		}
	}
}

// renewed is a table with room for more, and with the removed swept out.
func (t *table[K]) renewed(room int) *table[K] {
	fresh := newTable[K](t.seed, room)
	for i := range t.slots {
		if e := t.slots[i].Load(); e != nil && e != t.gone {
			fresh.put(e)
		}
	}
	return fresh
}
