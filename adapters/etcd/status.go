package etcd

import (
	"maps"
	"slices"
	"time"
)

// Status is what a source says about itself.
type Status struct {
	Connected   bool        `json:"connected"`              // etcd answered the last question in time
	Since       time.Time   `json:"since,omitzero"`         // of Connected
	Cluster     uint64      `json:"cluster,omitempty"`      // etcd's, as last heard
	Revision    int64       `json:"revision,omitempty"`     // etcd's, as last heard
	LastChange  time.Time   `json:"last_change,omitzero"`   // when a value last took effect
	LastError   string      `json:"last_error,omitempty"`   // of any kind, also when it is over
	LastErrorAt time.Time   `json:"last_error_at,omitzero"` // when it came
	Keys        []KeyStatus `json:"keys,omitempty"`         // of bound keys, in order
}

// KeyStatus is what is known of one key.
type KeyStatus struct {
	Key      string  `json:"key"`
	Revision int64   `json:"revision,omitempty"` // of the value in force; 0 if none is, or it is of another history
	Cached   bool    `json:"cached,omitempty"`   // the value in force is from the cache, and etcd has not confirmed it
	Refused  int64   `json:"refused,omitempty"`  // a later revision that was refused
	Error    string  `json:"error,omitempty"`    // why
	Absence  Absence `json:"absence,omitempty"`  // etcd no longer has the key; its value is in force still
}

// Status returns a consistent picture. It never waits for etcd.
func (s *Source) Status() Status {
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	b := &s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	status.Cluster, status.Revision = b.heard.Cluster, b.heard.Revision
	for _, key := range slices.Sorted(maps.Keys(b.entries)) {
		e := b.entries[key]
		k := KeyStatus{Key: key, Revision: e.revision, Cached: e.cached, Refused: e.refused, Absence: e.absence}
		if e.err != nil {
			k.Error = e.err.Error()
		}
		status.Keys = append(status.Keys, k)
	}
	return status
}

// reporter keeps the status up to date and passes on what happens.
type reporter struct{ s *Source }

func (r reporter) Connected(connected bool) {
	r.s.mu.Lock()
	same := r.s.status.Connected == connected
	if !same {
		r.s.status.Connected, r.s.status.Since = connected, time.Now()
	}
	r.s.mu.Unlock()
	if !same {
		r.s.observer.Connected(connected)
	}
}

func (r reporter) Applied(key string, revision int64) {
	r.s.mu.Lock()
	r.s.status.LastChange = time.Now()
	r.s.mu.Unlock()
	r.s.observer.Applied(key, revision)
}

func (r reporter) Refused(key string, revision int64, err error) {
	r.note("refused " + key + ": " + err.Error())
	r.s.observer.Refused(key, revision, err)
}

func (r reporter) Gone(key string, absence Absence) {
	r.s.observer.Gone(key, absence)
}

func (r reporter) Failed(err error) {
	r.note(err.Error())
	r.s.observer.Failed(err)
}

func (r reporter) note(text string) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.status.LastError, r.s.status.LastErrorAt = text, time.Now()
}
