package etcd

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Absence says how a key came to be no longer in etcd.
type Absence string

// The absences.
const (
	Deleted Absence = "deleted" // somebody deleted it
	Missing Absence = "missing" // not found, and no deletion was seen: it may have been lost with etcd's data
)

// pair is a key as etcd has it.
type pair struct {
	key      string
	value    []byte
	revision int64 // of the last change
}

// entry is what is known of a bound key.
type entry struct {
	handled int64 // revision of the last change that was looked at, 0 when there is none in the present history

	inForce  bool
	value    []byte // in force
	revision int64  // of it, 0 when it is of another history
	cached   bool   // it comes from the cache, and etcd has not confirmed it

	refused int64 // revision that was refused since, or 0
	err     error // why, or why OnDelete failed
	absence Absence
	told    bool // the observer knows of the absence
}

// book keeps what is in force. Only the goroutine of Run changes it; others read it under the lock. Bindings and
// the observer are called without it.
type book struct {
	prefix   string
	maxKeys  int
	maxBytes int64
	bindings []*binding
	observer Observer

	mu      sync.Mutex
	entries map[string]*entry
	heard   Place // the latest that etcd said of itself
	handled int64 // every change up to this revision was looked at; 0: none yet
	changes uint64
}

func (b *book) find(key string) (*binding, string) {
	for _, bound := range b.bindings {
		if bound.claims(key) {
			return bound, bound.name(b.prefix, key)
		}
	}
	return nil, ""
}

// pairOf is a key as etcd has it, and whether anybody wants it. What a sure one holds is left out, however long it is.
func (b *book) pairOf(kv *mvccpb.KeyValue) (pair, bool) {
	bound, _ := b.find(string(kv.Key))
	if bound == nil {
		return pair{}, false
	}
	p := pair{key: string(kv.Key), value: kv.Value, revision: kv.ModRevision}
	if bound.sure {
		p.value = nil
	}
	return p, true
}

// put looks at a key that etcd has, unless it has been looked at.
func (b *book) put(p pair) {
	bound, name := b.find(p.key)
	if bound == nil {
		return
	}
	e := b.entries[p.key]
	if e != nil && p.revision <= e.handled {
		b.confirm(e, p.revision)
		return
	}
	if bound.ofFaults && bound.seen > 0 && p.revision <= bound.seen {
		return // a put that comes after its deletion has come on the line
	}
	if e == nil {
		if len(p.key) > maxKeyBytes {
			b.observer.Refused(shorten(p.key), p.revision, fmt.Errorf("the name has %d bytes, at most %d are allowed", len(p.key), maxKeyBytes))
			return
		}
		if e = b.add(p.key, bound.sure); e == nil {
			b.observer.Refused(p.key, p.revision, fmt.Errorf("there are %d keys already, which is the most allowed (max_keys)", b.maxKeys))
			return
		}
	}
	var err error
	if !e.inForce || !bytes.Equal(e.value, p.value) {
		if int64(len(p.value)) > b.maxBytes {
			err = fmt.Errorf("the value has %d bytes, at most %d are allowed (max_value_bytes)", len(p.value), b.maxBytes)
		} else {
			err = bound.accept(name, p.value)
		}
	}
	bound.seen = p.revision
	b.mu.Lock()
	e.handled, e.absence, e.told = p.revision, "", false
	if err != nil {
		e.refused, e.err = p.revision, err
	} else {
		e.inForce, e.value, e.revision, e.cached = true, p.value, p.revision, false
		e.refused, e.err = 0, nil
		b.changes++
	}
	b.mu.Unlock()
	if err != nil {
		b.observer.Refused(p.key, p.revision, err)
	} else {
		b.observer.Applied(p.key, p.revision)
	}
}

// confirm notes that etcd has a key, at a revision that has been looked at.
func (b *book) confirm(e *entry, revision int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if revision == e.handled {
		e.absence, e.told = "", false
		e.cached = e.cached && revision != e.revision
	}
}

// add makes room for a key, if need be where a deleted one was that only the status still tells of. For a sure one there
// is always room.
func (b *book) add(key string, sure bool) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) >= b.maxKeys {
		for other, e := range b.entries {
			if e.absence == Deleted {
				delete(b.entries, other)
				break
			}
		}
	}
	if len(b.entries) >= b.maxKeys && !sure {
		return nil
	}
	e := &entry{}
	b.entries[key] = e
	return e
}

// remove looks at a deletion that etcd tells of.
func (b *book) remove(key string, revision int64) {
	bound, name := b.find(key)
	e := b.entries[key]
	if bound == nil {
		return
	}
	bound.seen = max(bound.seen, revision)
	if e == nil || revision <= e.handled {
		return
	}
	var err error
	stays := e.inForce
	if stays && bound.gone != nil {
		err = bound.forget(name)
		stays = err != nil
	}
	b.mu.Lock()
	b.changes++
	e.handled, e.absence, e.told = revision, Deleted, true
	e.refused, e.err = 0, nil
	if err != nil {
		e.refused, e.err = revision, err
	}
	if !stays {
		delete(b.entries, key)
	}
	b.mu.Unlock()
	b.observer.Gone(key, Deleted)
	if err != nil {
		b.observer.Refused(key, revision, err)
	}
}

// contradicts reports whether what etcd says now cannot have followed what it said before.
func (b *book) contradicts(at Place, pairs []pair) bool {
	if b.heard.Cluster == 0 {
		return false // nothing was said before
	}
	if at.Cluster != b.heard.Cluster || at.Revision < b.heard.Revision {
		return true
	}
	for _, p := range pairs {
		e := b.entries[p.key]
		switch {
		case e == nil:
		case p.revision < e.handled && e.handled <= at.Revision: // else it has come on the line since
			return true
		case e.inForce && p.revision == e.revision && !bytes.Equal(p.value, e.value):
			return true
		}
	}
	return false
}

// turn begins another history: revisions of the old one mean nothing in it.
func (b *book) turn(at Place) *HistoryError {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := &HistoryError{Before: b.heard, Now: at}
	for _, e := range b.entries {
		e.handled, e.revision = 0, 0
	}
	for _, bound := range b.bindings {
		bound.seen = 0
	}
	b.heard, b.handled = Place{}, 0
	b.changes++
	return err
}

// settle looks at the keys that etcd has at a place, which are all unless there are too many.
func (b *book) settle(at Place, pairs []pair, all bool) {
	there := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		there[p.key] = true
	}
	b.mu.Lock()
	b.heard = at
	if b.handled == 0 {
		b.handled = at.Revision // there is no earlier change to ask for
		b.changes++
	}
	for key, e := range b.entries {
		switch {
		case !all || there[key] || e.absence != "" || e.handled > at.Revision: // the last: it has come on the line since
		case e.inForce:
			e.absence, e.told = Missing, false
		default:
			delete(b.entries, key)
		}
	}
	b.mu.Unlock()
	for _, p := range pairs {
		b.put(p)
	}
}

// tellMissing tells of keys that are missing, some time after settle: a deletion may have been on its way.
func (b *book) tellMissing() {
	var missing []string
	b.mu.Lock()
	for key, e := range b.entries {
		if e.absence == Missing && !e.told {
			e.told = true
			missing = append(missing, key)
		}
	}
	b.mu.Unlock()
	slices.Sort(missing)
	for _, key := range missing {
		b.observer.Gone(key, Missing)
	}
}

// reached notes that all changes up to a revision were looked at, and that etcd has come so far.
func (b *book) reached(revision int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handled = max(b.handled, revision)
	b.heard.Revision = max(b.heard.Revision, revision)
}

// skip gives up the changes before a revision: etcd no longer has them. Those since it still has, and among them may be
// the deletion of a key that is missing by now.
func (b *book) skip(compacted int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handled = max(b.handled, compacted)
	b.changes++
}

// hear notes how far etcd has come, or that it went back.
func (b *book) hear(at Place) error {
	if b.contradicts(at, nil) {
		return errTurned
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = at
	return nil
}

// snapshot is what the next start of the process needs to know.
func (b *book) snapshot() snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := snapshot{Prefix: b.prefix, Cluster: b.heard.Cluster, Heard: b.heard.Revision, Handled: b.handled}
	for _, key := range slices.Sorted(maps.Keys(b.entries)) {
		// What was deleted ends with the process.
		if e := b.entries[key]; e.inForce && e.absence != Deleted {
			s.Values = append(s.Values, cached{Key: key, Value: e.value, Revision: e.revision})
		}
	}
	return s
}

// restore puts a snapshot into force, before anything else is.
func (b *book) restore(s snapshot) {
	b.mu.Lock()
	b.heard, b.handled = Place{Cluster: s.Cluster, Revision: s.Heard}, s.Handled
	b.mu.Unlock()
	for _, c := range s.Values {
		b.put(pair{key: c.Key, value: c.Value, revision: c.Revision})
		b.mu.Lock()
		if e := b.entries[c.Key]; e != nil && e.inForce {
			e.cached = true
		} else if e != nil {
			delete(b.entries, c.Key) // refused: etcd may have another
		}
		b.mu.Unlock()
	}
}

var (
	errTooMany = errors.New("there are more keys than max_keys allows; those last in order are not looked at")
	errTurned  = errors.New("etcd: answers from another history; reading everything anew")
)
