//go:build dougong_pooldebug

package pool

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// debugging says whether leases are traced and values poisoned.
const debugging = true

// quarantine is how many released values wait, so that a write that comes late finds nobody's value but poison.
const quarantine = 16

// free are the values that wait in a pool: who has waited longest goes first, after quarantine.
type free struct {
	mu     sync.Mutex
	values []any
}

func (f *free) get() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.values) <= quarantine {
		return nil
	}
	value := f.values[0]
	f.values = slices.Delete(f.values, 0, 1)
	return value
}

func (f *free) put(value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values = append(f.values, value)
}

// trace remembers where the last leases of a value began and ended.
type trace struct {
	mu    sync.Mutex
	lives [4]life
}

type life struct {
	gen           uint64
	got, released stack
}

func (t *trace) life(gen uint64) *life { return &t.lives[gen/2%uint64(len(t.lives))] }

func (t *trace) got(gen uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.life(gen) = life{gen: gen, got: here()}
}

func (t *trace) released(gen uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.life(gen); l.gen == gen {
		l.released = here()
	}
}

func (t *trace) stacks(gen uint64) (got, released string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.life(gen); l.gen == gen {
		return l.got.String(), l.released.String()
	}
	return "(forgotten: the value has been leased many times since)\n", ""
}

// stack is where a call came from.
type stack struct {
	callers [16]uintptr
	depth   int
}

func here() (s stack) {
	s.depth = runtime.Callers(2, s.callers[:])
	return s
}

// house begins the names of this package's functions.
var house = reflect.TypeFor[stack]().PkgPath() + "."

// String is empty for a stack that was not taken. The frames of this package's own code are left out.
func (s stack) String() string {
	var b strings.Builder
	for frames, more := runtime.CallersFrames(s.callers[:s.depth]), s.depth > 0; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.HasPrefix(f.Function, house) && !strings.HasSuffix(f.File, "_test.go") {
			continue
		}
		fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return b.String()
}

// maxLeaks is how many places of leaks are listed apart.
const maxLeaks = 256

// leaks lists where what was leaked had been got.
type leaks struct {
	mu     sync.Mutex
	places []Leak
}

func (l *leaks) add(got, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.places {
		if l.places[i].Stack == got {
			l.places[i].Count++
			return
		}
	}
	if len(l.places) < maxLeaks {
		l.places = append(l.places, Leak{got, 1})
	}
}

func (l *leaks) list() []Leak {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.places)
}
