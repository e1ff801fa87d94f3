package httpserver

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Trace places a request in a distributed trace (W3C Trace Context).
type Trace struct {
	TraceID [16]byte
	SpanID  [8]byte // of this process's part
	Parent  [8]byte // of the caller's part; zero: the trace began here
	Flags   byte    // bit 0: sampled
}

// IsZero reports whether there is no trace.
func (t Trace) IsZero() bool { return t.TraceID == [16]byte{} }

// ID returns the trace id as 32 hex digits, "" when there is none.
func (t Trace) ID() string {
	if t.IsZero() {
		return ""
	}
	return hex.EncodeToString(t.TraceID[:])
}

// Traceparent returns the header for calls that are made on behalf of t.
func (t Trace) Traceparent() string {
	b := make([]byte, 0, traceparentLen)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.SpanID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{t.Flags})
	return string(b)
}

const traceparentLen = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// ParseTraceparent reads the header strictly, as W3C Trace Context (section
// 3.2) wants it: lower case, no zero ids, version 00 with exactly four fields,
// later versions with at least those. The span id that it finds is returned as
// Parent.
func ParseTraceparent(s string) (t Trace, ok bool) {
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Trace{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], s[0:2]) || version[0] == 0xff ||
		!unhex(t.TraceID[:], s[3:35]) || !unhex(t.Parent[:], s[36:52]) || !unhex(flags[:], s[53:55]) {
		return Trace{}, false
	}
	if t.TraceID == [16]byte{} || t.Parent == [8]byte{} {
		return Trace{}, false
	}
	if len(s) > traceparentLen && (version[0] == 0 || s[55] != '-') {
		return Trace{}, false
	}
	t.Flags = flags[0]
	if version[0] != 0 {
		t.Flags &= 1 // the only flag that a later version is sure to mean likewise
	}
	return t, true
}

// unhex decodes lower-case hex digits.
func unhex(dst []byte, s string) bool {
	for i := range dst {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// traceOf continues the caller's trace or begins one. Ids need to be distinct,
// not secret.
func traceOf(h http.Header) Trace {
	var t Trace
	if v := h["Traceparent"]; len(v) == 1 {
		t, _ = ParseTraceparent(v[0])
	}
	if t.IsZero() {
		binary.LittleEndian.PutUint64(t.TraceID[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(t.TraceID[8:], rand.Uint64()|1) // never zero
	}
	binary.LittleEndian.PutUint64(t.SpanID[:], rand.Uint64()|1)
	return t
}

type traceKey struct{}

// TraceFrom returns the trace that the request belongs to, zero when there is none.
func TraceFrom(ctx context.Context) Trace {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		return *t
	}
	return Trace{}
}

// WithTrace returns a context that belongs to the trace, for work that did not
// begin with a request to this server.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, &t)
}

const maxTracestate = 512

// joinTracestate makes one value of the header's fields, as W3C Trace Context
// (section 3.3.1.1) says, and drops members from its end until it is short
// enough.
func joinTracestate(fields []string) string {
	if len(fields) == 0 {
		return ""
	}
	s := fields[0]
	if len(fields) > 1 {
		s = strings.Join(fields, ",")
	}
	if len(s) > maxTracestate {
		s = s[:max(strings.LastIndexByte(s[:maxTracestate+1], ','), 0)]
	}
	return s
}

type tracestateKey struct{}

// Propagate sets on an outgoing request's header what travels with ctx: the
// trace (with tracestate) and the time that is left until the deadline in
// seconds, which may be 0.
func Propagate(ctx context.Context, h http.Header) {
	if t := TraceFrom(ctx); !t.IsZero() {
		h.Set("Traceparent", t.Traceparent())
		if s, _ := ctx.Value(tracestateKey{}).(string); s != "" {
			h.Set("Tracestate", s)
		}
	}
	if d, ok := ctx.Deadline(); ok {
		h.Set("X-Request-Timeout", strconv.FormatFloat(max(time.Until(d), 0).Seconds(), 'f', 6, 64))
	}
}
