package fallback

import "time"

// Source says where an answer came from.
type Source string

// The sources.
const (
	Primary Source = "primary" // the call itself
	Cached  Source = "cached"  // the last good result of the same key
	Default Source = "default" // what [WithDefault] gave
	None    Source = "none"    // there is no answer, only an error
)

// Result is an answer.
type Result[V any] struct {
	Value  V
	Source Source
	Age    time.Duration // of a cached answer, since its call returned
	Err    error         // of the call that is answered instead; nil if it succeeded
}

// Observer is told of each call, on its goroutine and with no lock held. err is what the call returned, nil for
// Primary; age is that of a cached answer.
type Observer interface {
	Done(source Source, age time.Duration, err error)
}

// Snapshot is what a fallback says about itself.
type Snapshot struct {
	Entries int   `json:"entries"` // last good results kept now, those too old included until they are asked for
	Bytes   int64 `json:"bytes"`   // their size, if there is a size function

	Primary uint64 `json:"primary"` // calls since New, by the source of the answer
	Cached  uint64 `json:"cached"`
	Default uint64 `json:"default"`
	Failed  uint64 `json:"failed"`
	Evicted uint64 `json:"evicted"` // results that had to make room for others
}

// Snapshot returns a consistent picture.
func (f *Fallback[K, V]) Snapshot() Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.counts
	s.Entries, s.Bytes, s.Evicted = len(f.last.byKey), f.last.size, f.last.evicted
	return s
}
