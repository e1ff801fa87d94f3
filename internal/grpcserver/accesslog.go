package grpcserver

import (
	"bytes"
	"encoding/hex"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf16"

	"google.golang.org/grpc/codes"
)

const (
	accessFlushBytes  = 64 << 10
	accessFlushEvery  = time.Second
	accessMaxBuffered = 512 << 10 // of each of two buffers; beyond it lines are dropped
	accessCloseWait   = 2 * time.Second

	maxLoggedUserAgent = 128
)

// accessLog buffers lines and writes them from one goroutine, so that a sink that blocks costs lines, never time of a
// call.
type accessLog struct {
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

// newAccessLog starts nothing; run does.
func newAccessLog(sink io.Writer, dropped func(n int)) *accessLog {
	return &accessLog{
		sink: sink, dropped: dropped,
		scratch: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }},
		active:  make([]byte, 0, accessMaxBuffered), // memory is used as far as it is filled
		wake:    make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// write never contains what is in messages, nor metadata other than user-agent.
func (a *accessLog) write(c *call, code codes.Code, d time.Duration) {
	p := a.scratch.Get().(*[]byte)
	line := appendLine((*p)[:0], c, code, d)

	a.mu.Lock()
	if a.closed { // by a handler that outlived the server; run no longer looks
		a.mu.Unlock()
		a.scratch.Put(p)
		a.dropped(1)
		return
	}
	fits := len(a.active)+len(line) <= accessMaxBuffered
	if fits {
		a.active = append(a.active, line...)
	} else {
		a.lost++
	}
	full := len(a.active) >= accessFlushBytes
	a.mu.Unlock()

	*p = line
	a.scratch.Put(p)
	if full || !fits {
		a.kick()
	}
}

// appendLine appends the line as slog's JSON handler would shape it.
func appendLine(b []byte, c *call, code codes.Code, d time.Duration) []byte {
	b = append(b, `{"time":"`...)
	b = c.start.Add(d).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Internal, codes.Unavailable, codes.DataLoss:
		b = append(b, `","level":"ERROR","msg":"call","service":`...)
	default:
		b = append(b, `","level":"INFO","msg":"call","service":`...)
	}
	b = appendString(b, c.method.service)
	b = append(b, `,"method":`...)
	b = appendString(b, c.method.name)
	b = append(b, `,"code":"`...)
	b = append(b, code.String()...)
	b = append(b, `","bytes_in":`...)
	b = strconv.AppendInt(b, c.in.bytes.Load(), 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, c.out.bytes.Load(), 10)
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendFloat(b, float64(max(d.Microseconds(), 0))/1000, 'f', 3, 64)
	b = append(b, `,"trace_id":"`...)
	b = hex.AppendEncode(b, c.trace.TraceID[:])
	b = append(b, `","remote":"`...)
	b = c.remote().AppendTo(b)
	b = append(b, '"')
	if agent := c.userAgent; agent != "" {
		b = append(b, `,"user_agent":`...)
		b = appendString(b, agent[:min(len(agent), maxLoggedUserAgent)])
	}
	if c.who != nil {
		b = append(b, `,"caller":`...)
		b = appendString(b, c.who.Name)
		b = append(b, `,"tenant":`...)
		b = appendString(b, c.who.Tenant)
	}
	return append(b, "}\n"...)
}

// appendString appends s as a JSON string. What is not printable ASCII is escaped: a client cannot forge a line, nor
// turn its text around.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s { // invalid UTF-8 comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		default:
			if hi, lo := utf16.EncodeRune(r); r > 0xffff {
				b = appendEscape(appendEscape(b, hi), lo)
			} else {
				b = appendEscape(b, r)
			}
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

func (a *accessLog) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run writes until close was called, and then once more.
func (a *accessLog) run() {
	defer close(a.done)
	tick := time.NewTicker(accessFlushEvery)
	defer tick.Stop()
	spare := make([]byte, 0, accessMaxBuffered)
	for {
		select {
		case <-tick.C:
		case <-a.wake:
		}
		a.mu.Lock()
		full, lost, closed := a.active, a.lost, a.closed
		a.active, a.lost = spare[:0], 0
		a.mu.Unlock()

		if len(full) > 0 {
			if _, err := a.sink.Write(full); err != nil {
				lost += bytes.Count(full, []byte{'\n'})
			}
		}
		if lost > 0 {
			a.dropped(lost)
		}
		spare = full
		if closed {
			return
		}
	}
}

// close flushes, and reports whether the sink took everything in time.
func (a *accessLog) close() bool {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.kick()
	t := time.NewTimer(accessCloseWait)
	defer t.Stop()
	select {
	case <-a.done:
		return true
	case <-t.C:
		return false
	}
}
