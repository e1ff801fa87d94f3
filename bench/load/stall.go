package main

import (
	"net/http"
	"sync"
	"time"
)

// A stalling target answers at once, but for a twentieth of the run, in the midst of it: what arrives in it is answered at its
// end. The run begins with the first request.
const (
	stallAfter  = 7 * time.Second
	stallLength = 750 * time.Millisecond
	stallRun    = 15 * time.Second
)

type stall struct {
	once       sync.Once
	from, till time.Time
}

func newStall() *stall { return new(stall) }

func (s *stall) pass() {
	now := time.Now()
	s.once.Do(func() {
		s.from = now.Add(stallAfter)
		s.till = s.from.Add(stallLength)
	})
	if now.After(s.from) && now.Before(s.till) {
		time.Sleep(time.Until(s.till))
	}
}

func serveStallingHTTP1(addr string) error {
	s := newStall()
	answer := []byte("ok\n")
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.pass()
		w.Write(answer)
	}))
}
