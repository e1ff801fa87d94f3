package inference

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// fakePool is a pool whose workers do as a test says.
type fakePool struct {
	model  supervisor.Model
	deps   supervisor.Deps
	limits *limit.Limit
	ends   chan error // what Run returns before its context ends

	mu          sync.Mutex
	why         error
	predict     func(ctx context.Context, answers, rows []float64) error
	quarantined []supervisor.Quarantined
	stopped     bool
}

// sums answers each row with the sum of its values.
func (p *fakePool) sums(_ context.Context, answers, rows []float64) error {
	for i := range answers {
		answers[i] = 0
		for _, x := range rows[i*p.model.Features : (i+1)*p.model.Features] {
			answers[i] += x
		}
	}
	return nil
}

func (p *fakePool) Run(ctx context.Context) error {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stopped = true
	}()
	select {
	case err := <-p.ends:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (p *fakePool) Limit() *limit.Limit { return p.limits }

func (p *fakePool) Predict(ctx context.Context, answers, rows []float64) error {
	p.mu.Lock()
	predict := p.predict
	p.mu.Unlock()
	return predict(ctx, answers, rows)
}

func (p *fakePool) does(predict func(ctx context.Context, answers, rows []float64) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.predict = predict
}

// fails has all calls end so.
func (p *fakePool) fails(err error) {
	p.does(func(context.Context, []float64, []float64) error { return err })
}

func (p *fakePool) Healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// is tells how the workers are from now on.
func (p *fakePool) is(why error) {
	p.mu.Lock()
	p.why = why
	p.mu.Unlock()
	p.deps.Healthy(why)
}

func (p *fakePool) Quarantined() []supervisor.Quarantined { return p.quarantined }

func (p *fakePool) Release(reference string) bool {
	n := len(p.quarantined)
	p.quarantined = slices.DeleteFunc(p.quarantined, func(q supervisor.Quarantined) bool { return q.Reference == reference })
	return len(p.quarantined) < n
}

func (p *fakePool) Status() supervisor.Status {
	return supervisor.Status{Workers: []supervisor.WorkerStatus{{PID: 7, State: "ready"}}, Healthy: p.Healthy() == nil, Quarantine: p.quarantined}
}

var errAway = &supervisor.UnavailableError{Model: "net", Version: "1", RetryAfter: 3 * time.Second, Cause: errors.New("killed by a signal")}

// netRepository is loan-mini and, beside it, a model of the same inputs that workers serve.
func netRepository(t testing.TB, policy string) fstest.MapFS {
	t.Helper()
	repo := mini(t).(fstest.MapFS)
	data := []byte("what a worker reads")
	sum := sha256.Sum256(data)
	repo["net/1/net.onnx"] = &fstest.MapFile{Data: data}
	repo["net/1/model.yaml"] = &fstest.MapFile{Data: []byte("file: net.onnx\nsha256: " + hex.EncodeToString(sum[:]) +
		"\ninput: x\noutput: y\noptions: {optimization: all}\ninputs: [int_rate, revol_util]\ngolden:\n  tolerance: 1e-5\n  rows:\n    - {input: [0.1, 0.9], output: [1]}\n")}
	repo["net/policy.yaml"] = &fstest.MapFile{Data: []byte("serve: \"1\"\n" + policy)}
	return repo
}

const withFallback = "fallback: {model: loan-mini}\n"

func netConfig() Config {
	cfg := miniConfig()
	cfg.DefaultModel = "net"
	cfg.Engines = map[string]Engine{"onnx": {Options: map[string]string{"providers": "cpu", "optimization": "none"}}}
	return cfg
}

// workers runs a service on a repository with net in it, whose workers are as why says at first.
type workers struct {
	*Service
	http.Handler
	pool *fakePool
	seen *counts
	stop func() error
}

func serveWorkers(t testing.TB, cfg Config, repo fs.FS, why error) *workers {
	t.Helper()
	limits, err := limit.New(limit.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	w := &workers{seen: &counts{seen: map[string]int{}}}
	w.Service, err = New(cfg, Deps{Models: repo, Decode: decode, Observer: w.seen, Program: func(name string) (string, error) { return "/bin/" + name, nil }})
	if err != nil {
		t.Fatal(err)
	}
	w.newPool = func(_ supervisor.Config, command supervisor.Command, model supervisor.Model, deps supervisor.Deps) (workerPool, error) {
		if command.Path != "/bin/dougong-onnx-worker" || string(model.Bytes) != "what a worker reads" || model.Format != "onnx" || model.Features != 2 ||
			model.Outputs != 1 || model.Input != "x" || model.Output != "y" || len(model.Golden) != 1 || model.Tolerance != 1e-5 ||
			model.Options["optimization"] != "all" || model.Options["providers"] != "cpu" {
			t.Errorf("%+v %+v", command, model)
		}
		w.pool = &fakePool{model: model, deps: deps, limits: limits, why: why, ends: make(chan error, 1)}
		w.pool.predict = w.pool.sums
		return w.pool, nil
	}
	mux := http.NewServeMux()
	w.Register(func(pattern, role string, h http.Handler) { mux.Handle(pattern, h) })
	w.Handler = mux
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if w.pool != nil && !w.pool.stopped {
			t.Error("the service ended before its workers")
		}
	})
	select {
	case <-w.Opened():
	case err := <-done:
		done <- err
		t.Fatalf("Run: %v", err)
	}
	return w
}

func (w *workers) inState(t testing.TB, want lifecycle.State) {
	t.Helper()
	if got := w.Lifecycle().Status(); got.State != want {
		t.Errorf("state %v (%v), want %v", got.State, got.Cause, want)
	}
}

const (
	sumRequest  = `{"input":[0.25,0.5]}`
	byMini      = `{"model":"loan-mini","version":"1","output":[0.03645608]}`
	netV2Path   = "/v2/models/net/infer"
	netV2Sum    = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.25,0.5]}],"outputs":[{"name":"y"}]}`
	netV2Answer = `{"model_name":"net","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[0.75]}]}`
)

func TestWorkersAnswerInEveryForm(t *testing.T) {
	w := serveWorkers(t, netConfig(), netRepository(t, ""), nil)
	w.inState(t, lifecycle.Ready)
	for body, want := range map[string]string{
		sumRequest:                      `{"model":"net","version":"1","output":[0.75]}`,
		`{"inputs":[[0.25,0.5],[1,2]]}`: `{"model":"net","version":"1","outputs":[[0.75],[3]]}`,
		`{"features":{"revol_util":0.5,"int_rate":0}}`: `{"model":"net","version":"1","output":[0.5]}`,
		`{"model":"loan-mini","input":[0.1,0.9]}`:      byMini,
	} {
		if a := post(w, body); a.Code != 200 || strings.TrimSpace(a.Body.String()) != want || a.Header().Get(servedByHeader) != "" {
			t.Errorf("%s: %d %s", body, a.Code, a.Body)
		}
	}
	if a := v2Request(w, "POST", netV2Path, []byte(netV2Sum)); a.Code != 200 || strings.TrimSpace(a.Body.String()) != netV2Answer {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := v2Request(w, "POST", netV2Path, []byte(strings.Replace(netV2Sum, `"y"`, `"output"`, 1))); a.Code != 400 || !strings.Contains(a.Body.String(), `expected \"y\"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	var m modelMetadata
	if err := json.Unmarshal(v2Request(w, "GET", "/v2/models/net", nil).Body.Bytes(), &m); err != nil || m.Platform != "onnxruntime_onnx" ||
		fmt.Sprint(m.Inputs, m.Outputs) != "[{x FP32 [-1 2]}] [{y FP32 [-1 1]}]" || m.Properties["engine"] != "onnx" {
		t.Errorf("%+v %v", m, err)
	}
	var config modelConfig
	if err := json.Unmarshal(v2Request(w, "GET", "/v2/models/net/config", nil).Body.Bytes(), &config); err != nil || config.Backend != "onnxruntime" || config.Input[0].Name != "x" {
		t.Errorf("%+v %v", config, err)
	}
	client := grpcClient(t, w.Service)
	answer, err := client.ModelInfer(within(t), &inferencepb.ModelInferRequest{ModelName: "net", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{
		Name: "x", Datatype: "FP32", Shape: []int64{1, 2}, Contents: &inferencepb.InferTensorContents{Fp32Contents: []float32{0.25, 0.5}},
	}}})
	if err != nil || answer.Outputs[0].Name != "y" || answer.Outputs[0].Contents.Fp32Contents[0] != 0.75 {
		t.Errorf("%v %v", answer, err)
	}
	w.Invariants(func(name string, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}

// TestFallbackAnswersWhatWorkersCannot: for each way to fail, with a fallback and without.
func TestFallbackAnswersWhatWorkersCannot(t *testing.T) {
	slow := func(ctx context.Context, _, _ []float64) error { return context.DeadlineExceeded } // as after call_timeout
	is := func(err error) func(context.Context, []float64, []float64) error {
		return func(context.Context, []float64, []float64) error { return err }
	}
	for name, c := range map[string]struct {
		does   func(ctx context.Context, answers, rows []float64) error
		reason string // "": no fallback answers
		status int    // without one
		says   string
		result string
	}{
		"no worker":       {is(errAway), ReasonUnavailable, 503, `"code":"model_unavailable"`, "rejected"},
		"died":            {is(fmt.Errorf("twice: %w", supervisor.ErrDied)), ReasonDied, 503, `"code":"model_unavailable"`, "failed"},
		"another failure": {is(errors.New("the engine failed")), ReasonFailed, 500, `"code":"internal"`, "failed"},
		"no number":       {func(_ context.Context, answers, _ []float64) error { answers[0] = math.NaN(); return nil }, ReasonFailed, 500, `"code":"internal"`, "failed"},
		"too slow":        {slow, ReasonTimeout, 504, `call_timeout`, "failed"},
		"a wrong input":   {is(fmt.Errorf("%w: y must be positive", supervisor.ErrInput)), "", 400, `y must be positive`, "invalid"},
		"quarantined":     {is(&supervisor.QuarantinedError{Reference: "q-17"}), "", 422, `"code":"input_quarantined","reference":"q-17"`, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			alone := serveWorkers(t, netConfig(), netRepository(t, ""), nil)
			alone.pool.does(c.does)
			a := post(alone, sumRequest)
			if a.Code != c.status || !strings.Contains(a.Body.String(), c.says) || alone.seen.of("net/1 "+c.result) != 1 {
				t.Errorf("%d %s %v", a.Code, a.Body, alone.seen.seen)
			}
			if a.Code == 503 && a.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			w := serveWorkers(t, netConfig(), netRepository(t, withFallback), nil)
			w.pool.does(c.does)
			a = post(w, `{"input":[0.1,0.9]}`)
			if c.reason == "" {
				if a.Code != c.status || a.Header().Get(servedByHeader) != "" {
					t.Errorf("with a fallback: %d %s", a.Code, a.Body)
				}
				return
			}
			if a.Code != 200 || strings.TrimSpace(a.Body.String()) != byMini || a.Header().Get(servedByHeader) != "loan-mini/1" {
				t.Errorf("with a fallback: %d %v %s", a.Code, a.Header(), a.Body)
			}
			if w.seen.of("net/1 by loan-mini/1 "+c.reason) != 1 || w.seen.of("net/1 ok") != 1 {
				t.Errorf("counted %v", w.seen.seen)
			}
			a = v2Request(w, "POST", netV2Path, []byte(strings.Replace(netV2Sum, "0.25,0.5", "0.1,0.9", 1)))
			if want := strings.Replace(netV2Answer, "0.75", "0.03645608", 1); a.Code != 200 || strings.TrimSpace(a.Body.String()) != want || a.Header().Get(servedByHeader) != "loan-mini/1" {
				t.Errorf("over the protocol: %d %s", a.Code, a.Body)
			}
			if n := w.limiter.Stats().Running; n != 0 {
				t.Errorf("%d slots are still taken", n)
			}
		})
	}
}

func TestGRPCSaysWhoServedAndWhatIsInQuarantine(t *testing.T) {
	w := serveWorkers(t, netConfig(), netRepository(t, withFallback), nil)
	client := grpcClient(t, w.Service)
	infer := func(opts ...grpc.CallOption) (*inferencepb.ModelInferResponse, error) {
		return client.ModelInfer(within(t), &inferencepb.ModelInferRequest{ModelName: "net", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{
			Name: "x", Datatype: "FP32", Shape: []int64{1, 2}, Contents: &inferencepb.InferTensorContents{Fp32Contents: []float32{0.1, 0.9}},
		}}}, opts...)
	}
	w.pool.fails(supervisor.ErrDied)
	var header metadata.MD
	answer, err := infer(grpc.Header(&header))
	if err != nil || answer.ModelName != "net" || fmt.Sprint(header.Get("x-dougong-served-by")) != "[loan-mini/1]" {
		t.Errorf("%v %v %v", answer, header, err)
	}
	w.pool.fails(&supervisor.QuarantinedError{Reference: "q-17"})
	_, err = infer()
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), "q-17") || !strings.Contains(fmt.Sprint(s.Details()), "q-17") {
		t.Errorf("%v %v", err, s.Details())
	}
}

// TestFullQueueOfWorkersGoesToTheFallback: and without one it is refused as any other.
func TestFullQueueOfWorkersGoesToTheFallback(t *testing.T) {
	for _, policy := range []string{"", withFallback} {
		w := serveWorkers(t, netConfig(), netRepository(t, policy), nil)
		full, err := limit.New(limit.Config{Slots: 1, Arriving: 1})
		if err != nil {
			t.Fatal(err)
		}
		permit, err := full.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.pool.limits = full
		a := post(w, `{"input":[0.1,0.9]}`)
		if policy == "" && (a.Code != 503 || !strings.Contains(a.Body.String(), `"code":"overloaded"`)) || policy != "" && (a.Code != 200 || w.seen.of("net/1 by loan-mini/1 overloaded") != 1) {
			t.Errorf("%q: %d %s", policy, a.Code, a.Body)
		}
		permit.Done()
	}
}

// TestSlotIsFreeWhileWorkersCompute: another process computes, and trees are scored meanwhile.
func TestSlotIsFreeWhileWorkersCompute(t *testing.T) {
	cfg := netConfig()
	cfg.Slots = 1
	w := serveWorkers(t, cfg, netRepository(t, ""), nil)
	inside, leave := make(chan struct{}), make(chan struct{})
	w.pool.does(func(ctx context.Context, answers, rows []float64) error {
		close(inside)
		<-leave
		return w.pool.sums(ctx, answers, rows)
	})
	first := make(chan *httptest.ResponseRecorder)
	const rows = 4096
	go func() { first <- post(w, `{"inputs":[`+strings.Repeat("[0,0],", rows-1)+`[0,0]]}`) }()
	<-inside
	if a := post(w, `{"model":"loan-mini","input":[0.1,0.9]}`); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if held := w.memory.used.Load(); held < rows*(2+1)*8 {
		t.Errorf("%d bytes are counted: not the rows that workers have", held)
	}
	close(leave)
	if a := <-first; a.Code != 200 || w.memory.used.Load() != 0 {
		t.Errorf("%d %s, %d bytes are still held", a.Code, a.Body, w.memory.used.Load())
	}
}

// TestCircuitOfFailingWorkersOpensAndTheFallbackAnswers: inputs that are wrong, and workers that are away, do not open it.
func TestCircuitOfFailingWorkersOpensAndTheFallbackAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serveWorkers(t, netConfig(), netRepository(t, withFallback), nil)
		for _, harmless := range []error{supervisor.ErrInput, errAway, &supervisor.QuarantinedError{}} {
			w.pool.fails(harmless)
			for range 300 {
				post(w, sumRequest)
			}
		}
		if w.seen.of("net/1 by loan-mini/1 failing") != 0 {
			t.Error("the circuit opened because of inputs, or of workers that were away")
		}
		w.pool.fails(errors.New("the engine failed"))
		for range 1000 {
			if a := post(w, sumRequest); a.Code != 200 {
				t.Fatal(a.Code, a.Body)
			}
		}
		if w.seen.of("net/1 by loan-mini/1 failing") == 0 {
			t.Errorf("the circuit did not open: %v", w.seen.seen)
		}
		if a := v2Request(w, "GET", "/v2/models/net/ready", nil); a.Code != 200 || !strings.Contains(a.Body.String(), "loan-mini/1 answers for it") {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestCoreModelWithoutWorkersTakesReadinessAndNothingElse: at the start, and when they come and go.
func TestCoreModelWithoutWorkersTakesReadinessAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := netConfig()
		began := time.Now()
		w := serveWorkers(t, cfg, netRepository(t, ""), errAway)
		if took := time.Since(began); took != cfg.Workers.StartTimeout {
			t.Errorf("waited %v for workers", took)
		}
		w.inState(t, lifecycle.Failed)
		if cause := w.Lifecycle().Status().Cause; !errors.Is(cause, supervisor.ErrUnavailable) {
			t.Errorf("cause: %v", cause)
		}
		ready := func(path string, code int, says string) {
			t.Helper()
			if a := v2Request(w, "GET", path, nil); a.Code != code || !strings.Contains(a.Body.String(), says) {
				t.Errorf("%s: %d %s", path, a.Code, a.Body)
			}
		}
		ready("/v2/health/ready", 503, "Failed")
		ready("/v2/models/net/ready", 503, "killed by a signal")
		ready("/v2/models/loan-mini/ready", 200, "")
		if a := post(w, `{"model":"loan-mini","input":[0.1,0.9]}`); a.Code != 200 {
			t.Errorf("the other model: %d %s", a.Code, a.Body)
		}
		w.pool.does(func(ctx context.Context, _, _ []float64) error { <-ctx.Done(); return ctx.Err() }) // nobody comes
		refused := func(after time.Duration) {
			t.Helper()
			began := time.Now()
			if a := post(w, sumRequest); a.Code != 503 || !strings.Contains(a.Body.String(), CodeUnavailable) || time.Since(began) != after {
				t.Errorf("after %v: %d %s", time.Since(began), a.Code, a.Body)
			}
		}
		refused(0) // none has been there for long
		for range 2 {
			w.pool.is(nil)
			synctest.Wait()
			w.inState(t, lifecycle.Ready)
			ready("/v2/models/net/ready", 200, "")
			w.pool.is(errAway)
			synctest.Wait()
			w.inState(t, lifecycle.Failed)
			time.Sleep(patience / 2)
			refused(patience / 2) // it might have come back
		}
		w.Invariants(func(name string, err error) {
			if (name == "golden rows of net version 1") != (err != nil) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		w.inState(t, lifecycle.Stopped)
	})
}

// TestCoreModelComesBackFromItsFallbackByDegrees: nobody is told of an error on the way.
func TestCoreModelComesBackFromItsFallbackByDegrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serveWorkers(t, netConfig(), netRepository(t, withFallback), nil)
		w.inState(t, lifecycle.Ready)
		byNet := func() int { // of 100 callers
			n := 0
			for i := range 100 {
				r := httptest.NewRequest("POST", "/v1/predict", strings.NewReader(sumRequest))
				r.Header.Set("X-Request-Id", fmt.Sprint("caller ", i))
				a := httptest.NewRecorder()
				w.ServeHTTP(a, r)
				if a.Code != 200 {
					t.Fatal(a.Code, a.Body)
				}
				if a.Header().Get(servedByHeader) == "" {
					n++
				}
			}
			return n
		}
		if n := byNet(); n != 100 {
			t.Errorf("%d of 100 at first", n)
		}
		w.pool.fails(errAway)
		w.pool.is(errAway)
		synctest.Wait()
		w.inState(t, lifecycle.Degraded)
		if n := byNet(); n != 0 {
			t.Errorf("%d of 100 while it is away", n)
		}
		status := w.Status().Models[1].Versions[0]
		if status.Fallback != "loan-mini/1" || status.Recovery == "full" || status.Workers.Healthy || status.Engine != "onnx" {
			t.Errorf("%+v", status)
		}
		time.Sleep(time.Minute)
		w.pool.does(w.pool.sums)
		w.pool.is(nil)
		before, began := 0, time.Now()
		for w.Lifecycle().State() != lifecycle.Ready {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			n := byNet()
			if n < before {
				t.Errorf("%d of 100 after %d", n, before)
			}
			before = n
			if state := w.Lifecycle().State(); state == lifecycle.Failed || time.Since(began) > 30*time.Second {
				t.Fatalf("%v after %v", state, time.Since(began))
			}
		}
		if took := time.Since(began); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("back after %v", took)
		}
		if n := byNet(); n != 100 {
			t.Errorf("%d of 100 at the end", n)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestModelThatIsNotReadyAtTheStartIsAnsweredByItsFallback, and comes back by itself.
func TestModelThatIsNotReadyAtTheStartIsAnsweredByItsFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serveWorkers(t, netConfig(), netRepository(t, withFallback), errAway)
		w.inState(t, lifecycle.Degraded)
		if a := post(w, sumRequest); a.Code != 200 || a.Header().Get(servedByHeader) == "" {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		w.pool.is(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.inState(t, lifecycle.Ready)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestWorkersThatRelapseGiveBackWhatTheyTook: five failures are enough.
func TestWorkersThatRelapseGiveBackWhatTheyTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serveWorkers(t, netConfig(), netRepository(t, withFallback), nil)
		w.pool.is(errAway)
		w.pool.is(nil)
		for w.Lifecycle().State() != lifecycle.Recovering {
			time.Sleep(100 * time.Millisecond)
		}
		for w.Status().Models[1].Versions[0].Recovery != "rising" {
			time.Sleep(100 * time.Millisecond)
		}
		w.pool.fails(supervisor.ErrDied)
		for range 500 {
			if a := post(w, sumRequest); a.Code != 200 {
				t.Fatal(a.Code, a.Body)
			}
		}
		time.Sleep(2 * betweenTests)
		synctest.Wait()
		if state := w.Lifecycle().State(); state != lifecycle.Degraded && state != lifecycle.Recovering || w.Status().Models[1].Versions[0].Recovery == "rising" {
			t.Errorf("%v %+v", state, w.Status().Models[1].Versions[0])
		}
		if n := w.seen.of("net/1 by loan-mini/1 died"); n > 10 {
			t.Errorf("%d calls had to fail first", n)
		}
		w.pool.does(w.pool.sums)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.inState(t, lifecycle.Ready)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestModelThatIsNotCoreKeepsNobodyWaiting: neither at the start nor when it fails.
func TestModelThatIsNotCoreKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := serveWorkers(t, netConfig(), netRepository(t, "core: false\n"), errAway)
		if time.Since(began) != 0 {
			t.Errorf("waited %v", time.Since(began))
		}
		w.inState(t, lifecycle.Ready)
		if a := v2Request(w, "GET", "/v2/models/net/ready", nil); a.Code != 503 {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestPoolThatEndsByItselfIsNotTakenForHealthy: whatever it said last.
func TestPoolThatEndsByItselfIsNotTakenForHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serveWorkers(t, netConfig(), netRepository(t, ""), nil)
		w.pool.ends <- errors.New("no memory for the model")
		synctest.Wait()
		w.inState(t, lifecycle.Failed)
		if cause := w.Lifecycle().Status().Cause; cause == nil || !strings.Contains(cause.Error(), "no memory for the model") {
			t.Errorf("cause %v", cause)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestQuarantineIsListedAndReleased(t *testing.T) {
	w := serveWorkers(t, netConfig(), netRepository(t, ""), nil)
	w.pool.quarantined = []supervisor.Quarantined{{Reference: "q-17", Cause: "killed by a signal", Refused: 3}}
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/v1/models/net/quarantine", 200, `{"quarantine":[{"version":"1","reference":"q-17",`},
		{"GET", "/v1/models/loan-mini/quarantine", 200, `{"quarantine":[]}`},
		{"GET", "/v1/models/nope/quarantine", 404, CodeModelNotFound},
		{"DELETE", "/v1/models/net/quarantine/q-18", 404, CodeNotQuarantined},
		{"DELETE", "/v1/models/net/quarantine/q-17", 204, ""},
		{"DELETE", "/v1/models/net/quarantine/q-17", 404, CodeNotQuarantined},
		{"GET", "/v1/models/net/quarantine", 200, `{"quarantine":[]}`},
	} {
		if a := v2Request(w, c.method, c.path, nil); a.Code != c.code || !strings.Contains(a.Body.String(), c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.Code, a.Body)
		}
	}
}

// TestDemoIsCompleteWithoutWorkers: and a repository of one's own starts without the program all the same.
func TestDemoIsCompleteWithoutWorkers(t *testing.T) {
	s, h, _ := demo(t)
	if names := s.models.Load().Names(); fmt.Sprint(names) != "[loan-default loan-lite loan-mini]" {
		t.Errorf("served: %v", names)
	}
	if a := post(h, `{"model":"digits","input":[0]}`); a.Code != 404 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	with, err := New(DefaultConfig(), Deps{Models: models.Repository, Decode: decode, Program: func(name string) (string, error) { return name, nil }})
	if err != nil {
		t.Fatal(err)
	}
	with.newPool = func(_ supervisor.Config, _ supervisor.Command, model supervisor.Model, deps supervisor.Deps) (workerPool, error) {
		if model.Name != "digits" || model.Input != "image" || model.Features != 64 || model.Outputs != 10 {
			t.Errorf("%+v", model)
		}
		return &fakePool{model: model, deps: deps, ends: make(chan error)}, nil
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- with.Run(ctx) }()
	<-with.Opened()
	if names := with.models.Load().Names(); fmt.Sprint(names) != "[digits loan-default loan-lite loan-mini]" {
		t.Errorf("with the program: %v", names)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWorkersSeeNothingElseOfOurEnvironment(t *testing.T) {
	e := Engine{Env: []string{"MY_TOKEN"}}
	got := e.Environment([]string{"PATH=/bin", "AWS_SECRET_ACCESS_KEY=x", "MY_TOKEN=a=b", "NVIDIA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1", "DOUGONG_SECRET=y", "MALLOC_ARENA_MAX=4", "odd"})
	want := []string{"CUDA_VISIBLE_DEVICES=1", "MALLOC_ARENA_MAX=4", "MALLOC_MMAP_THRESHOLD_=65536", "MALLOC_TRIM_THRESHOLD_=131072", "MY_TOKEN=a=b", "NVIDIA_VISIBLE_DEVICES=0", "PATH=/bin"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	cfg := netConfig()
	cfg.Engines = map[string]Engine{"onnx": {Env: []string{"A=B"}}}
	cfg.Workers.Workers = 0
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "engines.onnx.env: must be names") || !strings.Contains(err.Error(), "workers.workers: must be at least 1") {
		t.Error(err)
	}
}
