package app

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type lockedWriter struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func TestLogSinkKeepsOrderAndLosesNothing(t *testing.T) {
	var to lockedWriter
	s := newLogSink(&to, func(n int) { t.Errorf("%d lines dropped", n) })
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(s, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if !s.close(10 * time.Second) {
		t.Fatal("did not close")
	}
	if to.out.String() != want.String() {
		t.Errorf("%d bytes came out, %d went in", to.out.Len(), want.Len())
	}
}

// stuckWriter blocks until it is released, as a pipe that nobody reads.
type stuckWriter struct{ release chan struct{} }

func (w stuckWriter) Write([]byte) (int, error) { <-w.release; return 0, errors.New("gone") }

func TestLogSinkNeverWaits(t *testing.T) {
	to := stuckWriter{make(chan struct{})}
	var dropped atomic.Int64
	s := newLogSink(to, func(n int) { dropped.Add(int64(n)) })
	line := []byte(strings.Repeat("x", 99) + "\n")
	const lines = 3 * maxLogBuffer / 100
	for range lines { // returns at all
		s.Write(line)
	}
	if s.close(10 * time.Millisecond) {
		t.Error("closed although the writer is stuck")
	}
	if n := dropped.Load(); n < lines/3 || n >= lines {
		t.Errorf("%d of %d lines dropped", n, lines)
	}
	close(to.release)
	<-s.ended
	if n := dropped.Load(); n != lines {
		t.Errorf("%d of %d lines counted", n, lines)
	}
}
