package fault

import (
	"context"
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

	mu      sync.Mutex
	changes []change
}

// change is what a service says of itself from a time on.
type change struct {
	at    time.Time // when it had said so
	signs []string
}

// maxChanges bounds what is kept of a service that changes its mind all the time.
const maxChanges = 20_000

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		signs := w.admin.look(ctx)
		if ctx.Err() != nil {
			return // the look was cut off
		}
		w.saw(time.Now(), signs)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *watcher) saw(at time.Time, signs []string) {
	w.mu.Lock()
	changed := len(w.changes) == 0 || !slices.Equal(w.changes[len(w.changes)-1].signs, signs)
	if changed && len(w.changes) < maxChanges {
		w.changes = append(w.changes, change{at, signs})
	}
	w.mu.Unlock()
	if changed && w.tell != nil {
		text := strings.Join(signs, ", ")
		if text == "" {
			text = "well"
		}
		w.tell(w.name + ": " + text)
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

// firstNew is the first sign after a time that is not among those known.
func (w *watcher) firstNew(after time.Time, known []string) (at time.Time, sign string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		if c.at.Before(after) {
			continue
		}
		for _, s := range c.signs {
			if !slices.Contains(known, s) {
				return c.at, s, true
			}
		}
	}
	return time.Time{}, "", false
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
