package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
)

func TestBreakerLinesHaveAnErrorCodeWhereSomethingFailed(t *testing.T) {
	var out bytes.Buffer
	b := breakerLog{slog.New(slog.NewJSONHandler(&out, nil))}
	for _, c := range []struct {
		to   breaker.State
		want string
		code bool
	}{
		{breaker.Open, `"level":"WARN"`, true},
		{breaker.HalfOpen, `"level":"INFO"`, false},
		{breaker.Closed, `"level":"INFO"`, false},
	} {
		out.Reset()
		b.Changed(breaker.Change{Circuit: "m@1", From: breaker.Closed, To: c.to, Cause: "why", For: time.Second})
		line := out.String()
		if !strings.Contains(line, c.want) || strings.Contains(line, `"error_code":"breaker_open"`) != c.code || strings.Contains(line, "error_code") != c.code ||
			!strings.Contains(line, `"circuit":"m@1"`) || !strings.Contains(line, `"for":"1s"`) {
			t.Error(line)
		}
	}
}
