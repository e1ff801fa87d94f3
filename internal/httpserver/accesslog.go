package httpserver

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dougong-io/dougong/internal/auth"
)

const (
	maxLoggedPath      = 256
	maxLoggedUserAgent = 128
	maxLoggedName      = 128 // of anything else that a client chooses
)

// accessLine is one request, with strings that still are as the client sent them.
type accessLine struct {
	time                time.Time
	service             string
	method, route, path string
	status              int
	bytesIn, bytesOut   int64
	duration            time.Duration
	trace               *Trace
	remote, userAgent   string
	code                string
	who                 *auth.Identity
}

// appendTo appends the line as slog's JSON handler would shape it. It never
// contains the query or a header other than User-Agent.
func (l *accessLine) appendTo(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = appendTime(b, l.time)
	if l.status >= 500 {
		b = append(b, `","level":"ERROR","msg":"request","service":`...)
	} else {
		b = append(b, `","level":"INFO","msg":"request","service":`...)
	}
	b = appendString(b, l.service, maxLoggedName)
	b = append(b, `,"method":`...)
	b = appendString(b, l.method, maxLoggedName)
	b = append(b, `,"route":`...)
	b = appendString(b, l.route, maxLoggedPath)
	b = append(b, `,"path":`...)
	b = appendString(b, l.path, maxLoggedPath)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(l.status), 10)
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, l.bytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, l.bytesOut, 10)
	b = append(b, `,"duration_ms":`...)
	b = appendMillis(b, l.duration)
	b = append(b, `,"trace_id":"`...)
	b = hex.AppendEncode(b, l.trace.TraceID[:])
	b = append(b, `","remote":`...)
	b = appendString(b, l.remote, maxLoggedName)
	if l.userAgent != "" {
		b = append(b, `,"user_agent":`...)
		b = appendString(b, l.userAgent, maxLoggedUserAgent)
	}
	if l.who != nil {
		b = append(b, `,"caller":`...)
		b = appendString(b, l.who.Name, maxLoggedName)
		b = append(b, `,"tenant":`...)
		b = appendString(b, l.who.Tenant, maxLoggedName)
	}
	if l.code != "" {
		b = append(b, `,"error_code":`...)
		b = appendString(b, l.code, maxLoggedName)
	}
	return append(b, "}\n"...)
}

// appendTime appends RFC 3339 in UTC with microseconds, at a third of the cost
// of Time.AppendFormat.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	us := t.Nanosecond() / 1000
	b = append2(append2(b, year/100), year%100)
	b = append2(append(b, '-'), int(month))
	b = append2(append(b, '-'), day)
	b = append2(append(b, 'T'), hour)
	b = append2(append(b, ':'), minute)
	b = append2(append(b, ':'), second)
	b = append2(append(b, '.'), us/10_000)
	return append(append2(append2(b, us/100%100), us%100), 'Z')
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// appendMillis appends milliseconds with three decimals.
func appendMillis(b []byte, d time.Duration) []byte {
	us := max(d.Microseconds(), 0)
	b = strconv.AppendInt(b, us/1000, 10)
	frac := us % 1000
	return append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
}

// appendString appends s, cut to limit bytes, as a JSON string. Control
// characters, invalid UTF-8, and what some viewers take for a line's end or a
// colour are escaped: a client cannot forge a line.
func appendString(b []byte, s string, limit int) []byte {
	cut := false
	if len(s) > limit {
		s, cut = s[:limit], true
		for range utf8.UTFMax - 1 { // not in the middle of a rune
			if r, size := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && size == 1 {
				s = s[:len(s)-1]
			}
		}
	}
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if printable(r) && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscape(b, r)
			i += size
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = appendEscape(b, rune(c))
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	if cut {
		b = append(b, "…"...)
	}
	return append(b, '"')
}

// printable is false for C1 controls, separators of lines, and marks that
// change the direction of text.
func printable(r rune) bool {
	switch {
	case r < 0xa0, r == 0x2028, r == 0x2029, r >= 0x200e && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
		return false
	}
	return true
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	r &= math.MaxUint16 // only runes of the basic plane come here
	return append(b, '\\', 'u', digits[r>>12], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
