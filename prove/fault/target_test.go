package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

// The test binary runs itself again: as the service that is hurt, and as a prover that is killed.
const (
	roleVariable = "FAULT_TEST_ROLE"
	roleTarget   = "target"
	roleProver   = "prover"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

func TestMain(m *testing.M) {
	flag.Parse()
	switch os.Getenv(roleVariable) {
	case roleTarget:
		os.Exit(serveTarget(os.Getenv("FAULT_TEST_PUBLIC"), os.Getenv("FAULT_TEST_ADMIN")))
	case roleProver:
		os.Exit(prove())
	}
	os.Exit(m.Run())
}

// long tells whether tests may take as long as they like.
func long() bool { return os.Getenv("DOUGONG_LONG") != "" }

var (
	pointWork = inject.Def{Name: "target.work", Doc: "The target works.", Attrs: []string{"tenant"}, Effects: inject.Call}
	pointIdle = inject.Def{Name: "target.idle", Doc: "The target does what nobody asks of it.", Effects: inject.Call}
)

// target is a small service with faults: work takes 2 ms; after some failures it says that it is degraded, and answers
// from a fallback.
type target struct {
	set      *inject.Set
	failures atomic.Int64 // in a row
	draining atomic.Bool
}

const workTakes = 2 * time.Millisecond

// takes returns after a time, and not a timer's lateness more.
func takes(d time.Duration) {
	begin := time.Now()
	time.Sleep(d - time.Millisecond)
	for time.Since(begin) < d {
	}
}

func newTarget() (*target, error) {
	set, err := inject.New(inject.DefaultConfig())
	return &target{set: set}, err
}

func (s *target) public() http.Handler {
	work := s.set.Point(pointWork)
	s.set.Point(pointIdle)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /work", func(w http.ResponseWriter, r *http.Request) {
		takes(workTakes)
		if work.On() {
			if err := work.Hit(r.Context(), inject.Attr{Key: "tenant", Value: r.Header.Get("X-Tenant")}); err != nil {
				s.failures.Add(1)
				if os.Getenv("FAULT_TEST_FRAGILE") != "" {
					os.Exit(3)
				}
				if r.Header.Get("X-Fallback") != "" {
					w.Header().Set("X-Degraded", "fallback")
					fmt.Fprintln(w, "as before")
					return
				}
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		s.failures.Store(0)
		fmt.Fprintln(w, "done")
	})
	// What is ordered here is five milliseconds, to the microsecond: timers spread those of a rule.
	mux.HandleFunc("GET /exactly", func(w http.ResponseWriter, r *http.Request) {
		takes(workTakes)
		if work.On() {
			if work.Hit(r.Context(), inject.Attr{Key: "tenant", Value: "exact"}) != nil {
				takes(exactEffect)
			}
		}
		fmt.Fprintln(w, "done")
	})
	return mux
}

const exactEffect = 5 * time.Millisecond

func (s *target) admin() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range faultadmin.Routes(s.set, inject.Admin) {
		mux.Handle(pattern, h)
	}
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		state := "Ready"
		switch {
		case s.draining.Load():
			state = "Draining"
			w.WriteHeader(http.StatusServiceUnavailable)
		case s.failures.Load() > 3:
			state = "Degraded"
		}
		fmt.Fprintf(w, `{"state":%q}`, state)
	})
	mux.HandleFunc("GET /statusz", func(w http.ResponseWriter, _ *http.Request) {
		circuit := "closed"
		if s.failures.Load() > 10 {
			circuit = "open"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"state": "Ready", "services": []any{map[string]any{"status": map[string]any{"breaker": circuit}}}})
	})
	return mux
}

// serveTarget is the target as a process.
func serveTarget(public, admin string) int {
	s, err := newTarget()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.set.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 2)
	for _, of := range []struct {
		address string
		handler http.Handler
	}{{public, s.public()}, {admin, s.admin()}} { // in this order: who sees that it is ready may call it
		listener, err := net.Listen("tcp", of.address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		server := &http.Server{Handler: of.handler}
		defer server.Close()
		go func() { failed <- server.Serve(listener) }()
	}
	select {
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		return 1
	case <-ctx.Done():
		s.draining.Store(true)
		time.Sleep(200 * time.Millisecond)
		return 0
	}
}

// listen serves handlers until the test ends, and returns their URLs.
func listen(t testing.TB, handlers ...http.Handler) []string {
	t.Helper()
	var urls []string
	for _, h := range handlers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: h}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		t.Cleanup(func() {
			server.Close()
			<-ended
		})
		urls = append(urls, "http://"+l.Addr().String())
	}
	return urls
}

// inProcess is a plan for a target within the test.
func inProcess(t testing.TB) (Plan, *target) {
	t.Helper()
	s, err := newTarget()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.set.Close() })
	urls := listen(t, s.public(), s.admin())
	p := shortPlan()
	p.Services = []Service{{Name: "target", Admin: urls[1]}}
	p.Load.Target = urls[0]
	return p, s
}

// shortPlan is a plan whose windows are as short as they can be for a test to see anything in them.
func shortPlan() Plan {
	p := DefaultPlan()
	p.Load.Scenarios = []load.Scenario{{Steps: []load.Step{{Path: "/work"}}}}
	p.Load.Rate, p.Load.Connections, p.Load.LateAfter = 150, 64, schedule.Duration(50*time.Millisecond)
	p.Load.Timeout = Duration(400 * time.Millisecond)
	p.Warmup, p.Window, p.Guard, p.Recover = Duration(2*time.Second), Duration(600*time.Millisecond), Duration(100*time.Millisecond), Duration(10*time.Second)
	p.Pairs, p.Control = 2, false
	return p
}

// ownProcess is a plan that starts the target.
func ownProcess() Plan {
	p := shortPlan()
	p.Load.Target = "http://127.0.0.1:{port:public}"
	p.Services = []Service{{
		Name: "target", Admin: "http://127.0.0.1:{port:admin}", Command: []string{"{self}"},
		Environment: map[string]string{roleVariable: roleTarget, "FAULT_TEST_PUBLIC": "127.0.0.1:{port:public}", "FAULT_TEST_ADMIN": "127.0.0.1:{port:admin}"},
	}}
	return p
}

func delay(d time.Duration) *Rule {
	return &Rule{Point: "target.work", Delay: &inject.Delay{Fixed: d}}
}

// carriedOut runs a plan with a journal of its own. What it tests shows on a busy machine, too.
func carriedOut(t testing.TB, p Plan) *Result {
	t.Helper()
	result, err := Run(t.Context(), p, Options{Journal: t.TempDir(), anyLate: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range result.Rows {
		t.Log(line(&r))
	}
	return result
}

// line is a row for a log.
func line(r *Row) string {
	e := &r.Effect
	return fmt.Sprintf("%s [%s] %d pairs, %d hits: p50 %+.2f ms (%.2f to %.2f), p99 %+.2f ms, time-outs %+.3f, errors %+.3f, degraded %+.3f, lost %+.3f; %s %v; detect %d/%d %.2fs %s; recover %d/%d %.2fs; %s",
		r.Name, r.Status, r.Pairs, r.Hits, e.P50.Value, e.P50.Low, e.P50.High, e.P99.Value, e.Timeouts.Value, e.Errors.Value, e.Degraded.Value, e.Lost.Value,
		e.Verdict, e.Claims, r.Detect.Seen, r.Detect.Tries, r.Detect.Median, strings.Join(r.Detect.By, "; "), r.Recover.Seen, r.Recover.Tries, r.Recover.Median, r.Reason)
}

// processesOf lists the processes that a run has started and that are there still. It looks for itself.
func processesOf(t *testing.T, run string) (left []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range environs {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environ, []byte("PROVE_FAULTS_RUN="+run)) {
			continue
		}
		pid := strings.Split(file, "/")[2]
		status, _ := os.ReadFile("/proc/" + pid + "/stat")
		if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() {
			left = append(left, pid+" "+string(status))
		}
	}
	return left
}
