package fallback

import "time"

// lru keeps a bounded number of results, and of bytes, and gives up those used longest ago.
type lru[K comparable, V any] struct {
	entries int
	bytes   int64 // 0: any
	byKey   map[K]*entry[K, V]
	root    entry[K, V] // root.next was used last, root.prev longest ago
	size    int64
	evicted uint64
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	at         time.Duration
	size       int64
	prev, next *entry[K, V]
}

func (l *lru[K, V]) put(key K, value V, size int64, now time.Duration) {
	if key != key { // NaN is never found again, nor removed
		return
	}
	if l.entries == 0 || l.bytes > 0 && size > l.bytes {
		return // what was there before is still the last one that fits
	}
	e := l.byKey[key]
	if e == nil {
		e = l.room()
		e.key = key
		l.byKey[key] = e
		l.link(e)
	} else {
		l.use(e)
	}
	l.size += size - e.size
	e.value, e.size, e.at = value, size, now
	for l.bytes > 0 && l.size > l.bytes {
		l.evicted++
		l.remove(l.root.prev)
	}
}

// room returns an entry for a new key: that of the result used longest ago when there are enough.
func (l *lru[K, V]) room() *entry[K, V] {
	if l.byKey == nil {
		l.byKey = map[K]*entry[K, V]{}
		l.root.prev, l.root.next = &l.root, &l.root
	}
	if len(l.byKey) < l.entries {
		return &entry[K, V]{}
	}
	l.evicted++
	oldest := l.root.prev
	l.remove(oldest)
	return oldest
}

// get returns a result that is no older than ttl, and forgets one that is.
func (l *lru[K, V]) get(key K, now, ttl time.Duration) (value V, age time.Duration, ok bool) {
	e := l.byKey[key]
	if e == nil {
		return value, 0, false
	}
	age = max(0, now-e.at)
	if age > ttl {
		l.remove(e)
		return value, 0, false
	}
	l.use(e)
	return e.value, age, true
}

func (l *lru[K, V]) forget(key K) {
	if e := l.byKey[key]; e != nil {
		l.remove(e)
	}
}

func (l *lru[K, V]) use(e *entry[K, V]) {
	if l.root.next == e {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	l.link(e)
}

func (l *lru[K, V]) link(e *entry[K, V]) {
	e.prev, e.next = &l.root, l.root.next
	e.prev.next, e.next.prev = e, e
}

// remove leaves the entry empty.
func (l *lru[K, V]) remove(e *entry[K, V]) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(l.byKey, e.key)
	l.size -= e.size
	*e = entry[K, V]{}
}
