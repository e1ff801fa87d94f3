// Package linelog writes the lines of an access log: from one goroutine, through a bounded buffer, so that a sink that
// blocks costs lines, never time of a request.
//
// It is not for lines that must not be lost, such as those of an audit.
//
//	log := linelog.New(os.Stderr, func(n int) { dropped.Add(n) })
//	go log.Run() // ended by Close
//	room := log.Room()
//	line := append((*room)[:0], `{"path":`...)
//	line = linelog.AppendString(line, path, 256)
//	log.Write(room, append(line, "}\n"...))
package linelog

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	flushBytes  = 64 << 10
	flushEvery  = time.Second
	maxBuffered = 512 << 10 // of each of two buffers; beyond it lines are dropped
)

// CloseWait is how long Close waits for the sink.
const CloseWait = 2 * time.Second

// Log is safe for concurrent use.
type Log struct {
	sink    io.Writer
	dropped func(n int)
	scratch sync.Pool // of *[]byte

	mu     sync.Mutex
	active []byte
	lost   int // lines dropped since the last flush
	closed bool

	wake chan struct{} // capacity 1
	done chan struct{}
}

// New starts nothing; Run does.
func New(sink io.Writer, dropped func(n int)) *Log {
	return &Log{
		sink:    sink,
		dropped: dropped,
		active:  make([]byte, 0, maxBuffered), // memory is used as far as it is filled
		scratch: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }},
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
}

// Room is where a line is made, which Write then takes.
func (l *Log) Room() *[]byte { return l.scratch.Get().(*[]byte) }

// Write takes a line that was appended to what room holds. It never waits for the sink.
func (l *Log) Write(room *[]byte, line []byte) {
	l.mu.Lock()
	if l.closed { // by a handler that outlived the server; Run no longer looks
		l.mu.Unlock()
		l.scratch.Put(room)
		l.dropped(1)
		return
	}
	fits := len(l.active)+len(line) <= maxBuffered
	if fits {
		l.active = append(l.active, line...)
	} else {
		l.lost++
	}
	full := len(l.active) >= flushBytes
	l.mu.Unlock()

	*room = line[:0]
	l.scratch.Put(room)
	if full || !fits {
		l.kick()
	}
}

func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run writes until Close was called, and then once more.
func (l *Log) Run() {
	defer close(l.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	spare := make([]byte, 0, maxBuffered)
	for {
		select {
		case <-tick.C:
		case <-l.wake:
		}
		l.mu.Lock()
		full, lost, closed := l.active, l.lost, l.closed
		l.active, l.lost = spare[:0], 0
		l.mu.Unlock()

		if len(full) > 0 {
			if _, err := l.sink.Write(full); err != nil {
				lost += bytes.Count(full, []byte{'\n'})
			}
		}
		if lost > 0 {
			l.dropped(lost)
		}
		spare = full
		if closed {
			return
		}
	}
}

// Close flushes, and reports whether the sink took everything in time.
func (l *Log) Close() bool {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.kick()
	t := time.NewTimer(CloseWait)
	defer t.Stop()
	select {
	case <-l.done:
		return true
	case <-t.C:
		return false
	}
}
