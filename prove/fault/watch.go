package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// watchEvery is how often a service is asked how it is.
const watchEvery = 50 * time.Millisecond

// watcher asks a service how it is, all the time, and keeps what changed. It is safe for concurrent use.
type watcher struct {
	name  string
	admin adminClient
	tell  func(text string)
	bare  bool // it has no /statusz

	mu      sync.Mutex
	asked   time.Time // when the last look began
	changes []change
	blind   []blindness
}

// change is what a service says of itself from a time on.
type change struct {
	since time.Time // when it was asked before, and had not said so
	at    time.Time // when it had said so
	signs []string
}

// blindness is a stretch in which it could not be read what a service says of itself.
type blindness struct {
	from, to time.Time // to is zero while it lasts
	why      string
}

// maxChanges bounds what is kept of a service that changes its mind all the time.
const maxChanges = 20_000

// prepare finds out before the run whether what the service says of itself can be read.
func (w *watcher) prepare(ctx context.Context) (err error) {
	if w.bare, err = w.admin.readable(ctx); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted before a fault was tried: %w", ctx.Err())
	}
	return fmt.Errorf("%w: %s at %s: what it says of itself cannot be read: %w", ErrTarget, w.name, w.admin.base, err)
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		asked := time.Now()
		l := w.admin.look(ctx, !w.bare)
		if ctx.Err() != nil {
			return // the look was cut off
		}
		w.saw(asked, time.Now(), l)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// saw takes in a look that began and ended at some times.
func (w *watcher) saw(asked, at time.Time, l look) {
	w.mu.Lock()
	first := len(w.changes) == 0
	before := w.asked
	if first {
		before = asked
	}
	w.asked = asked
	signs := l.signs
	if l.blind != nil && !first { // as far as anybody knows, its circuits are as they were
		for _, s := range w.changes[len(w.changes)-1].signs {
			if strings.HasPrefix(s, signCircuit) && !slices.Contains(signs, s) {
				signs = append(signs, s)
			}
		}
		slices.Sort(signs)
	}
	var told []string
	if first || !slices.Equal(w.changes[len(w.changes)-1].signs, signs) {
		if len(w.changes) < maxChanges {
			w.changes = append(w.changes, change{before, at, signs})
		}
		text := strings.Join(signs, ", ")
		if text == "" {
			text = "well"
		}
		told = append(told, text)
	}
	was := len(w.blind) > 0 && w.blind[len(w.blind)-1].to.IsZero()
	switch {
	case l.blind != nil && !was && len(w.blind) < maxChanges:
		w.blind = append(w.blind, blindness{from: before, why: l.blind.Error()})
		told = append(told, "what it says of itself cannot be read: "+l.blind.Error())
	case l.blind == nil && was:
		w.blind[len(w.blind)-1].to = at
		told = append(told, "what it says of itself can be read again")
	}
	w.mu.Unlock()
	for _, text := range told {
		if w.tell != nil {
			w.tell(w.name + ": " + text)
		}
	}
}

// now is what the service said last; nil before it was asked.
func (w *watcher) now() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.changes) == 0 {
		return nil
	}
	return w.changes[len(w.changes)-1].signs
}

// blindIn says why, in a stretch, it could not be read all the time what the service says of itself; "" if it could.
func (w *watcher) blindIn(from, to time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.blind {
		if b.from.Before(to) && (b.to.IsZero() || b.to.After(from)) {
			return b.why
		}
	}
	return ""
}

// firstNew is the first sign after a time that is not among those known.
func (w *watcher) firstNew(after time.Time, known []string) (c change, sign string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		if c.at.Before(after) {
			continue
		}
		for _, s := range c.signs {
			if !slices.Contains(known, s) {
				return c, s, true
			}
		}
	}
	return change{}, "", false
}

// wellBy is the time in a stretch since which, to its end, the service has shown no sign but those known.
func (w *watcher) wellBy(from, to time.Time, known []string) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, well := from, true
	for _, c := range w.changes {
		if c.at.After(to) {
			break
		}
		ill := slices.ContainsFunc(c.signs, func(s string) bool { return !slices.Contains(known, s) })
		if well = !ill; well && c.at.After(from) {
			at = c.at
		}
	}
	return at, well
}
