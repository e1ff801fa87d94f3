package main

import (
	"fmt"
	"hash/maphash"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/dougong-io/dougong/kit/breaker"
)

// lookup is the table of kit/breaker with nothing in its entries but a counter: the bare lookup that a call by key is
// compared with. Its entries are as large as circuits, with the counter, the hash and the key where these have theirs,
// so that both meet the same cache lines.
type lookup[K comparable] struct {
	seed  maphash.Seed
	mask  uint64
	slots []atomic.Pointer[counted[K]]
	gone  *counted[K]
}

// In a circuit.
const (
	hashAt  = 48
	countAt = 64
)

// sameLayout reports what has changed in kit/breaker since this was written, and would make the comparison unfair.
func sameLayout() error {
	for _, f := range []struct {
		of   reflect.Type
		name string
		ours uintptr
	}{
		{reflect.TypeFor[breaker.Circuit](), "hash", unsafe.Offsetof(counted[upstream]{}.hash)},
		{reflect.TypeFor[breaker.Circuit](), "ok", unsafe.Offsetof(counted[upstream]{}.count)},
		{reflect.TypeFor[breaker.Permit](), "word", unsafe.Offsetof(permit{}.word)},
	} {
		if field, ok := f.of.FieldByName(f.name); !ok || field.Offset != f.ours {
			return fmt.Errorf("%v.%s is not at offset %d any more: change the copy of it here", f.of, f.name, f.ours)
		}
	}
	return nil
}

type counted[K comparable] struct {
	_     [hashAt]byte
	hash  uint64
	_     [countAt - hashAt - 8]byte
	count atomic.Int64
	_     [unsafe.Sizeof(breaker.Circuit{}) - countAt - 8]byte
	key   K
}

func newLookup[K comparable](keys []K) *lookup[K] {
	size := 16
	for size*5 < len(keys)*8 {
		size *= 2
	}
	l := &lookup[K]{seed: maphash.MakeSeed(), mask: uint64(size - 1), slots: make([]atomic.Pointer[counted[K]], size), gone: new(counted[K])}
	for _, k := range keys {
		e := &counted[K]{key: k, hash: maphash.Comparable(l.seed, k)}
		i := e.hash & l.mask
		for l.slots[i].Load() != nil {
			i = (i + 1) & l.mask
		}
		l.slots[i].Store(e)
	}
	return l
}

func (l *lookup[K]) find(key K) *counted[K] {
	hash := maphash.Comparable(l.seed, key)
	for i := hash & l.mask; ; i = (i + 1) & l.mask {
		e := l.slots[i].Load()
		if e == nil {
			return nil
		}
		if e.hash == hash && e.key == key && e != l.gone {
			return e
		}
	}
}
