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

func TestFloodOfMinorLinesLeavesRoomForTheOthers(t *testing.T) {
	to := &heldWriter{release: make(chan struct{}), held: make(chan struct{})}
	var dropped atomic.Int64
	s := newLogSink(to, func(n int) { dropped.Add(int64(n)) })
	process := newLogger(s, LogConfig{})
	service := newServiceLogger(s, s.minor(), LogConfig{}).With("service", "inference")
	process.Info("first")
	<-to.held // from here on nobody takes lines
	const flood = 2 * maxLogBuffer / 100
	for range flood {
		service.Info("prediction", "input", "redacted")
	}
	if dropped.Load() == 0 {
		t.Fatal("the flood is none")
	}
	before := dropped.Load()
	const others = 1000
	for i := range others {
		service.WithGroup("g").Error("prediction failed", "n", i)
		process.Info("audit", "n", i)
	}
	if n := dropped.Load() - before; n > 0 {
		t.Errorf("%d lines that are not of the flood are lost", n)
	}
	close(to.release)
	if !s.close(10 * time.Second) {
		t.Fatal("did not close")
	}
	out := to.out.String()
	for line, want := range map[string]int{`"msg":"prediction failed","service":"inference","g":{"n":`: others, `"msg":"audit"`: others, `"msg":"prediction","service":"inference"`: flood - int(dropped.Load())} {
		if n := strings.Count(out, line); n != want {
			t.Errorf("%d lines with %s, want %d", n, line, want)
		}
	}
}

// heldWriter tells of its first write and holds it until it is released.
type heldWriter struct {
	held, release chan struct{}
	once          sync.Once
	lockedWriter
}

func (w *heldWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.held); <-w.release })
	return w.lockedWriter.Write(p)
}
