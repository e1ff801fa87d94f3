package grpcserver

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
)

// AuditEvent is a call of a method with Method.Audit.
type AuditEvent struct {
	Time    time.Time  `json:"time"`
	Service string     `json:"service"`
	Name    string     `json:"name"` // of the token; "" without one
	Tenant  string     `json:"tenant"`
	Method  string     `json:"method"` // full
	Code    codes.Code `json:"code"`
	Remote  string     `json:"remote"`
	TraceID string     `json:"trace_id"`
}

// log writes the event past the logger's level: an audit line is never left out.
func (e AuditEvent) log(l *slog.Logger) error {
	r := slog.NewRecord(e.Time, slog.LevelInfo, "audit", 0)
	r.AddAttrs(slog.String("service", e.Service), slog.String("caller", e.Name), slog.String("tenant", e.Tenant),
		slog.String("method", e.Method), slog.String("code", e.Code.String()),
		slog.String("remote", e.Remote), slog.String("trace_id", e.TraceID))
	return l.Handler().Handle(context.Background(), r)
}
