package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
)

// breakerLog writes a line for each transition of a circuit: there are few, and each is something that whoever
// looks for the cause of refusals wants to see.
type breakerLog struct{ log *slog.Logger }

func (b breakerLog) Changed(c breaker.Change) {
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("circuit", c.Circuit), slog.String("from", c.From.String()), slog.String("cause", c.Cause), slog.String("for", c.For.Round(time.Millisecond).String())}
	if c.To == breaker.Open {
		level, attrs = slog.LevelWarn, append(attrs, slog.String("error_code", "breaker_open"))
	}
	b.log.LogAttrs(context.Background(), level, "breaker "+c.To.String(), attrs...)
}

func (breakerLog) Late(string, breaker.Outcome) {}
func (breakerLog) Abandoned(string)             {}
func (breakerLog) Evicted(string)               {}
func (breakerLog) Overflowed()                  {}

// breakerObservers tells each of them.
type breakerObservers []breaker.Observer

func (all breakerObservers) Changed(c breaker.Change) {
	for _, o := range all {
		o.Changed(c)
	}
}

func (all breakerObservers) Late(circuit string, outcome breaker.Outcome) {
	for _, o := range all {
		o.Late(circuit, outcome)
	}
}

func (all breakerObservers) Abandoned(circuit string) {
	for _, o := range all {
		o.Abandoned(circuit)
	}
}

func (all breakerObservers) Evicted(circuit string) {
	for _, o := range all {
		o.Evicted(circuit)
	}
}

func (all breakerObservers) Overflowed() {
	for _, o := range all {
		o.Overflowed()
	}
}
