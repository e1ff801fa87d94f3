package grpcserver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/internal/auth"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/tap"
)

// TestAuditThatWaitsHoldsNoConnection: a sink that blocks while a call is accounted for that came too late stops
// neither the connection's other calls nor the stop.
func TestAuditThatWaitsHoldsNoConnection(t *testing.T) {
	const load = inferencepb.GRPCInferenceService_RepositoryModelLoad_FullMethodName
	block, events := make(chan struct{}), make(chan AuditEvent, 2*maxUnserved)
	svc := inference(isReady)
	svc.Method = func(method string) Method {
		if method == "RepositoryModelLoad" {
			return Method{Role: auth.Release}
		}
		return Method{}
	}
	cfg := testConfig()
	cfg.DrainTimeout = 300 * time.Millisecond
	r := start(t, cfg, Deps{Audit: func(e AuditEvent) { events <- e; <-block }}, svc)
	f := dialFrames(t, r.addr)
	f.until(t, isSettings)
	f.WriteSettingsAck()
	zero := hpack.HeaderField{Name: "grpc-timeout", Value: "0n"}
	f.head(t, 1, load, zero, hpack.HeaderField{Name: "user-agent", Value: strings.Repeat("u", 1000)})
	if e := <-events; e.Method != load || e.Code != codes.DeadlineExceeded || !strings.HasPrefix(e.Remote, "127.0.0.1:") || e.TraceID == "" {
		t.Errorf("event %+v", e)
	}
	const more = maxUnserved + 10
	for i := range uint32(more) {
		f.head(t, 3+2*i, load, zero)
	}
	f.WritePing(false, [8]byte{9, 9})
	f.until(t, func(frame http2.Frame) bool {
		p, ok := frame.(*http2.PingFrame)
		return ok && p.IsAck() && p.Data[1] == 9
	})
	begun := time.Now()
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "audit: the sink took nothing") || time.Since(begun) > 5*time.Second {
		t.Errorf("stopped after %v with %v", time.Since(begun), err)
	}
	close(block)
	if o := r.seen.wait(t, load, 1+maxUnserved); o[0].Code != codes.DeadlineExceeded {
		t.Errorf("outcome %+v", o[0])
	}
	for !strings.Contains(r.logs.String(), `"calls":10,"error_code":"unserved_calls_lost"`) {
		time.Sleep(time.Millisecond)
	}
}

// TestCallsThatGRPCAnswersItselfAreAccountedFor: no handler sees them, and nobody could count what tries them.
func TestCallsThatGRPCAnswersItselfAreAccountedFor(t *testing.T) {
	svc := inference(isReady)
	svc.Method = func(string) Method { return Method{Audit: true} }
	events := make(chan AuditEvent, 10)
	r := start(t, testConfig(), Deps{Audit: func(e AuditEvent) { events <- e }}, svc)
	const parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	known := hpack.HeaderField{Name: "traceparent", Value: parent}
	for _, path := range []string{"inference", "/inference", ""} {
		if got := told(t, r, path, true, nil, known); got["grpc-status"] != "12" {
			t.Errorf("path %q: told %v", path, got)
		}
	}
	unknown := hpack.HeaderField{Name: "grpc-encoding", Value: "zstd"}
	if got := told(t, r, readyMethod, true, framed(1, "x"), unknown, known); got["grpc-status"] != "12" {
		t.Errorf("an unknown encoding: told %v", got)
	}
	for name, n := range map[string]int{otherMethod: 3, readyMethod: 1} {
		for _, o := range r.seen.wait(t, name, n) {
			if o.Code != codes.Unimplemented || o.Duration != 0 {
				t.Errorf("%s: outcome %+v", name, o)
			}
		}
	}
	if e := <-events; e.Method != readyMethod || e.Code != codes.Unimplemented || !strings.HasPrefix(e.Remote, "127.0.0.1:") {
		t.Errorf("event %+v", e)
	}
	told(t, r, readyMethod, true, framed(1, "x"), unknown, known) // found by the stop, at the latest
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(r.access.String(), `"code":"Unimplemented","bytes_in":0,"bytes_out":0,"duration_ms":0.000,"trace_id":"0123456789abcdef0123456789abcdef"`); n != 5 {
		t.Errorf("%d lines in %s", n, r.access)
	}
	for i := range r.inflight.shards {
		if r.inflight.shards[i].head != nil {
			t.Error("a call is remembered")
		}
	}
}

// TestCallThatBeginsTooLateIsNotServedAsWell: what was accounted for must not reach a handler.
func TestCallThatBeginsTooLateIsNotServedAsWell(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	ctx, cancel := context.WithCancel(context.Background())
	over, err := r.tap(ctx, &tap.Info{FullMethodName: readyMethod})
	if err != nil {
		t.Fatal(err)
	}
	c := callOf(over)
	r.collectUnserved(0)
	if c.state.Load() != waiting {
		t.Error("a call that may still begin was taken")
	}
	cancel()
	r.collectUnserved(time.Hour)
	if c.state.Load() != waiting {
		t.Error("a call that may still begin was taken at once")
	}
	r.collectUnserved(0)
	if o := r.seen.wait(t, readyMethod, 1)[0]; o.Code != codes.Unimplemented {
		t.Errorf("outcome %+v", o)
	}
	if c.begin(nil) {
		t.Error("it began")
	}
}
