package grpcserver

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf16"

	"google.golang.org/grpc/codes"
)

const maxLoggedUserAgent = 128

// appendLine appends the line as slog's JSON handler would shape it. It never contains what is in messages, nor metadata
// other than user-agent.
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
