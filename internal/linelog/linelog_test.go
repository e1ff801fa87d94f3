package linelog

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const sample = `{"time":"2026-11-22T12:00:00.000000Z","level":"INFO","msg":"request","service":"inference","status":200}` + "\n"

// buffer is read while the log writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func write(l *Log) {
	room := l.Room()
	l.Write(room, append((*room)[:0], sample...))
}

func TestLinesAreFlushedEachSecondAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink buffer
		a := New(&sink, func(int) {})
		go a.Run()
		write(a)
		synctest.Wait()
		if sink.String() != "" {
			t.Error("written at once")
		}
		time.Sleep(flushEvery)
		synctest.Wait()
		if strings.Count(sink.String(), "\n") != 1 {
			t.Errorf("after a second: %q", sink.String())
		}
		write(a)
		if !a.Close() {
			t.Error("not closed")
		}
		if strings.Count(sink.String(), "\n") != 2 {
			t.Errorf("after close: %q", sink.String())
		}
	})
}

type blockedSink struct{ release chan struct{} }

func (b blockedSink) Write(p []byte) (int, error) { <-b.release; return len(p), nil }

func TestBlockedSinkCostsLinesNotTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := blockedSink{make(chan struct{})}
		var dropped int
		a := New(sink, func(n int) { dropped += n })
		go a.Run()
		line := len(sample)
		sent := 3 * maxBuffered / line
		begin := time.Now()
		for range sent {
			write(a)
			synctest.Wait()
		}
		if time.Since(begin) != 0 { // in synctest time stands still unless somebody waits
			t.Error("a writer waited")
		}
		if a.Close() {
			t.Error("closed although the sink blocks")
		}
		close(sink.release)
		<-a.done
		if kept := sent - dropped; dropped == 0 || kept*line > 2*maxBuffered+flushBytes || kept*line < maxBuffered {
			t.Errorf("%d of %d lines of %d bytes dropped", dropped, sent, line)
		}
		before := dropped
		write(a) // of a handler that outlived the server
		if dropped != before+1 || len(a.active) > maxBuffered {
			t.Errorf("%d lines dropped after the end, %d bytes kept", dropped-before, len(a.active))
		}
	})
}

type failingSink struct{}

func (failingSink) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestFailingSinkCountsItsLines(t *testing.T) {
	dropped := 0
	a := New(failingSink{}, func(n int) { dropped += n })
	go a.Run()
	for range 7 {
		write(a)
	}
	a.Close()
	if dropped != 7 {
		t.Errorf("%d dropped, want 7", dropped)
	}
}
