package httpserver

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/linelog"
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
	b = linelog.AppendString(b, l.service, maxLoggedName)
	b = append(b, `,"method":`...)
	b = linelog.AppendString(b, l.method, maxLoggedName)
	b = append(b, `,"route":`...)
	b = linelog.AppendString(b, l.route, maxLoggedPath)
	b = append(b, `,"path":`...)
	b = linelog.AppendString(b, l.path, maxLoggedPath)
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
	b = linelog.AppendString(b, l.remote, maxLoggedName)
	if l.userAgent != "" {
		b = append(b, `,"user_agent":`...)
		b = linelog.AppendString(b, l.userAgent, maxLoggedUserAgent)
	}
	if l.who != nil {
		b = append(b, `,"caller":`...)
		b = linelog.AppendString(b, l.who.Name, maxLoggedName)
		b = append(b, `,"tenant":`...)
		b = linelog.AppendString(b, l.who.Tenant, maxLoggedName)
	}
	if l.code != "" {
		b = append(b, `,"error_code":`...)
		b = linelog.AppendString(b, l.code, maxLoggedName)
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
