package grpcserver

import (
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/internal/auth"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// TestAuditThatWaitsHoldsNoConnection: a sink that blocks while a call is accounted for that came too late stops
// neither the connection's other calls nor the stop.
func TestAuditThatWaitsHoldsNoConnection(t *testing.T) {
	const load = inferencepb.GRPCInferenceService_RepositoryModelLoad_FullMethodName
	block, events := make(chan struct{}), make(chan AuditEvent, 2*maxLate)
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
	const more = maxLate + 10
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
	if o := r.seen.wait(t, load, 1+maxLate); o[0].Code != codes.DeadlineExceeded {
		t.Errorf("outcome %+v", o[0])
	}
	for !strings.Contains(r.logs.String(), `"calls":10,"error_code":"late_calls_lost"`) {
		time.Sleep(time.Millisecond)
	}
}
