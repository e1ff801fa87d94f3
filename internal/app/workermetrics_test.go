package app

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/services/inference"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

func TestWorkerMetrics(t *testing.T) {
	registry := prom.New()
	o := newWorkerMetrics(registry).Observer("digits", "1")
	o.Started(0.2)
	o.Started(0.3)
	o.Ended(supervisor.EndKilled)
	o.Ready(1)
	o.Memory(1, 300, 200, 100)
	o.Memory(1, 301, 201, 101)
	o.Sent(3, 7, 0.001)
	o.Retried()
	o.Quarantined()
	o.Refused()
	v := newInferenceMetrics(registry).Version("digits", "1")
	v.FellBack("loan-mini/1", inference.ReasonDied)
	w := httptest.NewRecorder()
	registry.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`dougong_inference_worker_starts_total{model="digits",version="1"} 2`,
		`dougong_inference_worker_start_seconds_count{model="digits",version="1"} 2`,
		`dougong_inference_worker_ends_total{cause="killed",model="digits",version="1"} 1`,
		`dougong_inference_worker_ends_total{cause="hung",model="digits",version="1"} 0`,
		`dougong_inference_ready_workers{model="digits",version="1"} 1`,
		`dougong_inference_worker_memory_bytes{kind="resident",model="digits",version="1",worker="1"} 301`,
		`dougong_inference_worker_memory_bytes{kind="native",model="digits",version="1",worker="1"} 201`,
		`dougong_inference_worker_memory_bytes{kind="device",model="digits",version="1",worker="1"} 101`,
		`dougong_inference_batch_calls_bucket{model="digits",version="1",le="2"} 0`,
		`dougong_inference_batch_calls_bucket{model="digits",version="1",le="4"} 1`,
		`dougong_inference_batch_rows_sum{model="digits",version="1"} 7`,
		`dougong_inference_batch_seconds_count{model="digits",version="1"} 1`,
		`dougong_inference_worker_retries_total{model="digits",version="1"} 1`,
		`dougong_inference_quarantined_total{model="digits",version="1"} 1`,
		`dougong_inference_quarantine_refused_total{model="digits",version="1"} 1`,
		`dougong_inference_fallback_total{model="digits",reason="died",served_by="loan-mini/1",version="1"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
}

// TestWorkerProgramIsFoundBesideOursThenInPath: or where its path says.
func TestWorkerProgramIsFoundBesideOursThenInPath(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "dougong-test-worker")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for name, want := range map[string]string{"dougong-test-worker": program, program: program, filepath.Base(own): own} {
		if got, err := workerProgram(name); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := workerProgram("dougong-nobodys-worker"); err == nil {
		t.Error("found what is nowhere")
	}
}

func TestTraceOfARequestGoesToItsWorker(t *testing.T) {
	want := httpserver.Trace{TraceID: [16]byte{1}, SpanID: [8]byte{2}, Flags: 1}
	trace, span, flags := traceOf(httpserver.WithTrace(t.Context(), want))
	if trace != want.TraceID || span != want.SpanID || flags != want.Flags {
		t.Error(trace, span, flags)
	}
}

// away is a service that takes requests although its state says that it does not serve.
type away struct {
	service
	machine *lifecycle.Machine
	opened  chan struct{}
}

func (a *away) Lifecycle() *lifecycle.Machine { return a.machine }

func (a *away) Run(ctx context.Context) error {
	if err := a.machine.To(lifecycle.Failed, errors.New("no worker")); err != nil {
		return err
	}
	close(a.opened)
	<-ctx.Done()
	return nil
}

// TestServiceWhoseCoreModelIsAwayStartsTheProcess: it is the readiness that says so.
func TestServiceWhoseCoreModelIsAwayStartsTheProcess(t *testing.T) {
	s := &away{machine: lifecycle.NewMachine("inference"), opened: make(chan struct{})}
	b := built{service: s, opened: s.opened}
	group, err := lifecycle.NewGroup("test", lifecycle.DefaultConfig(), []lifecycle.Member{{Name: "service", Run: untilReady(b)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- group.Run(ctx) }()
	if state, err := group.Wait(t.Context(), func(s lifecycle.State) bool { return s != lifecycle.Initializing }); err != nil || state != lifecycle.Ready {
		t.Errorf("%v %v", state, err)
	}
	a := &App{group: group, running: []built{b}}
	if state, ok := a.ready(); ok || state != "Failed" {
		t.Errorf("ready: %s %v", state, ok)
	}
	if err := a.live(); err != nil {
		t.Errorf("live: %v", err)
	}
	stop()
	_ = group.StopNow()
	<-done
}
