package app

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// logSink stands between the process and where its log goes. Nobody who writes a line ever waits for a pipe
// that nobody reads or a disk that hangs: lines wait in a bounded buffer that one goroutine empties, and what
// does not fit is dropped and counted.
type logSink struct {
	to      io.Writer
	dropped func(lines int)

	mu     sync.Mutex
	buffer []byte
	spare  []byte // the other of the two buffers, while it is not being written
	wake   chan struct{}
	closed bool
	ended  chan struct{} // closed when the goroutine has written everything that came before close
}

const (
	maxLogBuffer   = 1 << 20          // how much may wait
	maxMinorBuffer = maxLogBuffer / 2 // up to which minor lines are taken
)

// newLogSink starts the goroutine; close ends it.
func newLogSink(to io.Writer, dropped func(lines int)) *logSink {
	s := &logSink{to: to, dropped: dropped, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go s.run()
	return s
}

// Write takes whole lines. It never fails and never waits.
func (s *logSink) Write(lines []byte) (int, error) { return s.write(lines, maxLogBuffer) }

// minor takes lines of which there may be as many as requests: they leave half of the buffer to the others.
func (s *logSink) minor() io.Writer { return minorLines{s} }

type minorLines struct{ sink *logSink }

func (m minorLines) Write(lines []byte) (int, error) { return m.sink.write(lines, maxMinorBuffer) }

func (s *logSink) write(lines []byte, most int) (int, error) {
	s.mu.Lock()
	fits := !s.closed && len(s.buffer)+len(lines) <= most
	if fits {
		s.buffer = append(s.buffer, lines...)
	}
	s.mu.Unlock()
	if !fits {
		s.dropped(bytes.Count(lines, []byte{'\n'}))
		return len(lines), nil
	}
	s.kick()
	return len(lines), nil
}

func (s *logSink) kick() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (s *logSink) run() {
	defer close(s.ended)
	for range s.wake {
		for {
			s.mu.Lock()
			out, closed := s.buffer, s.closed
			s.buffer, s.spare = s.spare[:0], nil
			s.mu.Unlock()
			if len(out) == 0 {
				s.mu.Lock()
				s.spare = out
				s.mu.Unlock()
				if closed {
					return
				}
				break
			}
			if _, err := s.to.Write(out); err != nil {
				s.dropped(bytes.Count(out, []byte{'\n'})) // there is nowhere to say it but the metric
			}
			s.mu.Lock()
			s.spare = out[:0]
			s.mu.Unlock()
		}
	}
}

// close writes what waits and ends the goroutine, or gives up after the bound and returns false: the goroutine
// is then stuck in a write that only the end of the process ends.
func (s *logSink) close(bound time.Duration) bool {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.kick()
	select {
	case <-s.ended:
		return true
	case <-time.After(bound):
		return false
	}
}
