package app

import (
	"context"
	"io"
	"log/slog"

	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/lifecycle"
)

// newLogger writes JSON lines to the sink. Each line of a request carries its trace_id.
func newLogger(w io.Writer, cfg LogConfig) *slog.Logger {
	return slog.New(traceHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: cfg.Level})})
}

// newServiceLogger is for services, which may write a line a request: what is below a warning goes to minor.
func newServiceLogger(sink, minor io.Writer, cfg LogConfig) *slog.Logger {
	opt := &slog.HandlerOptions{Level: cfg.Level}
	return slog.New(traceHandler{splitHandler{slog.NewJSONHandler(sink, opt), slog.NewJSONHandler(minor, opt)}})
}

// splitHandler hands what is below a warning to minor.
type splitHandler struct{ major, minor slog.Handler }

func (h splitHandler) of(level slog.Level) slog.Handler {
	if level < slog.LevelWarn {
		return h.minor
	}
	return h.major
}

func (h splitHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.of(level).Enabled(ctx, level)
}

func (h splitHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.of(r.Level).Handle(ctx, r)
}

func (h splitHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return splitHandler{h.major.WithAttrs(attrs), h.minor.WithAttrs(attrs)}
}

func (h splitHandler) WithGroup(name string) slog.Handler {
	return splitHandler{h.major.WithGroup(name), h.minor.WithGroup(name)}
}

type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	if trace := httpserver.TraceFrom(ctx); !trace.IsZero() {
		r.AddAttrs(slog.String("trace_id", trace.ID()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}

// stateLog writes each change of state.
type stateLog struct{ log *slog.Logger }

func (l stateLog) Transition(name string, from, to lifecycle.State, cause error) {
	level, attrs := slog.LevelInfo, []slog.Attr{slog.String("name", name), slog.String("from", from.String()), slog.String("to", to.String())}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	if to == lifecycle.Failed || to == lifecycle.Degraded {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error_code", "state_"+to.String()))
	}
	l.log.LogAttrs(context.Background(), level, "state", attrs...)
}

// lifecycleObservers tells several observers.
type lifecycleObservers []lifecycle.Observer

func (all lifecycleObservers) Transition(name string, from, to lifecycle.State, cause error) {
	for _, o := range all {
		o.Transition(name, from, to, cause)
	}
}
