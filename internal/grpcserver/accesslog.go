package grpcserver

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/internal/linelog"
	"google.golang.org/grpc/codes"
)

const (
	maxLoggedUserAgent = 128
	maxLoggedName      = 256
)

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
	b = linelog.AppendString(b, c.method.service, maxLoggedName)
	b = append(b, `,"method":`...)
	b = linelog.AppendString(b, c.method.name, maxLoggedName)
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
		b = linelog.AppendString(b, agent, maxLoggedUserAgent)
	}
	if c.who != nil {
		b = append(b, `,"caller":`...)
		b = linelog.AppendString(b, c.who.Name, maxLoggedName)
		b = append(b, `,"tenant":`...)
		b = linelog.AppendString(b, c.who.Tenant, maxLoggedName)
	}
	return append(b, "}\n"...)
}
