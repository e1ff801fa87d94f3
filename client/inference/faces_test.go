package inferenceclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	inferenceclient "github.com/dougong-io/dougong/client/inference"
	"github.com/dougong-io/dougong/kit/breaker"
)

func TestAnswerIsTheSameOverEachProtocol(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			f, cfg := serve(t, protocol, always(good))
			c := connect(t, cfg)
			r, err := c.Infer(t.Context(), ask())
			if err != nil {
				t.Fatal(err)
			}
			values, shape, err := r.Float32s("output")
			if err != nil || len(values) != 1 || values[0] != 0.5 || fmt.Sprint(shape) != "[1 1]" {
				t.Errorf("%v %v %v", values, shape, err)
			}
			if r.Model != "m" || r.Version != "3" || r.ID != "7" || r.Endpoint != f.url || r.Attempts != 1 {
				t.Errorf("%+v", r)
			}
			if r.Queue != 1500*time.Microsecond || r.Compute != 250*time.Microsecond {
				t.Errorf("queue %v, compute %v", r.Queue, r.Compute)
			}
			seen := f.requests()[0]
			if seen.header("X-Request-Id") != "7" || seen.timeout <= 0 || seen.timeout > cfg.Timeout || seen.output != "output" {
				t.Errorf("id %q, timeout %v, output %q", seen.header("X-Request-Id"), seen.timeout, seen.output)
			}
			if _, _, err := inferenceclient.Values[float64](r, "output"); !errors.Is(err, inferenceclient.ErrInvalid) {
				t.Errorf("as float64: %v", err)
			}
			if _, _, err := r.Float32s("other"); !errors.Is(err, inferenceclient.ErrInvalid) {
				t.Errorf("another: %v", err)
			}
		})
	}
}

func TestFailuresAreTheSameOverEachProtocol(t *testing.T) {
	for _, c := range []struct {
		does     reply
		want     error
		attempts int
	}{
		{overloaded, inferenceclient.ErrOverloaded, 3},
		{invalid, inferenceclient.ErrInvalid, 1},
		{denied, inferenceclient.ErrDenied, 1},
		{notFound, inferenceclient.ErrNotFound, 1},
		{tooLarge, inferenceclient.ErrTooLarge, 1},
		{unsupported, inferenceclient.ErrUnsupported, 1},
		{internal, inferenceclient.ErrInternal, 1},
		{gatewayLate, inferenceclient.ErrDeadline, 3},
		{dropped, inferenceclient.ErrUnavailable, 3},
		{half, inferenceclient.ErrUnavailable, 3},
		{lyingSize, inferenceclient.ErrProtocol, 1},
		{lyingHead, inferenceclient.ErrProtocol, 1},
		{wrongID, inferenceclient.ErrProtocol, 1},
		{garbage, inferenceclient.ErrProtocol, 1},
		{huge, inferenceclient.ErrTooLarge, 1},
	} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprintf("%d over %s", c.does, protocol), func(t *testing.T) {
				f, cfg := serve(t, protocol, always(c.does))
				cfg.MaxResponseBytes = 1 << 10
				_, err := connect(t, cfg).Infer(t.Context(), ask())
				failed, ok := errors.AsType[*inferenceclient.Error](err)
				if !ok || !errors.Is(err, c.want) {
					t.Fatalf("%v is not %v", err, c.want)
				}
				if failed.Attempts != c.attempts || len(f.requests()) != c.attempts || failed.Endpoint != f.url || failed.Call != "infer m" {
					t.Errorf("%+v after %d requests", failed, len(f.requests()))
				}
				if (failed.Status == 0) == (failed.Code == 0) && c.want != inferenceclient.ErrUnavailable && c.want != inferenceclient.ErrProtocol && c.does != huge {
					t.Errorf("status %d, code %v", failed.Status, failed.Code)
				}
				t.Log(err)
			})
		}
	}
}

func TestOneFailureIsTriedAgainWithTheSameID(t *testing.T) {
	for _, does := range []reply{overloaded, dropped, half, gatewayLate} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprintf("%d over %s", does, protocol), func(t *testing.T) {
				f, cfg := serve(t, protocol, firstThen(does))
				r := ask()
				r.ID = ""
				answer, err := connect(t, cfg).Infer(t.Context(), r)
				if err != nil || answer.Attempts != 2 {
					t.Fatalf("%+v %v", answer, err)
				}
				seen := f.requests()
				if len(seen) != 2 || seen[0].header("X-Request-Id") == "" || seen[0].header("X-Request-Id") != seen[1].header("X-Request-Id") {
					t.Errorf("%d requests", len(seen))
				}
			})
		}
	}
}

func TestRetryGoesToAnotherServerAtOnce(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			bad, cfg := serve(t, protocol, always(overloadedFor))
			fine, _ := serve(t, protocol, always(good))
			cfg.URLs = []string{bad.url, fine.url}
			c := connect(t, cfg)
			for range 4 {
				r, err := c.Infer(t.Context(), ask())
				if err != nil || r.Endpoint != fine.url {
					t.Fatalf("%+v %v", r, err)
				}
			}
			if n := len(bad.requests()); n != 1 { // it asked to be left alone for a minute
				t.Errorf("%d requests to the overloaded one", n)
			}
		})
	}
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	for _, protocol := range []string{"http", "grpc"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg := inferenceclient.DefaultConfig()
		cfg.URLs = []string{protocol + "://" + listener.Addr().String()}
		listener.Close()
		_, err = connect(t, cfg).Infer(t.Context(), ask())
		if !errors.Is(err, inferenceclient.ErrUnavailable) || err.(*inferenceclient.Error).Attempts != 3 {
			t.Error(err)
		}
	}
}

func TestEarlierDeadlineWins(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			f, cfg := serve(t, protocol, always(hanging))
			cfg.Timeout = 300 * time.Millisecond
			_, err := connect(t, cfg).Infer(t.Context(), ask())
			if !errors.Is(err, inferenceclient.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("of the configuration: %v", err)
			}
			cfg.Timeout = time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err = connect(t, cfg).Infer(ctx, ask()); !errors.Is(err, inferenceclient.ErrDeadline) {
				t.Errorf("of the caller: %v", err)
			}
			for i, seen := range f.requests() {
				if seen.timeout <= 0 || seen.timeout > 300*time.Millisecond {
					t.Errorf("the server was told %v, call %d", seen.timeout, i)
				}
			}
			if n := len(f.requests()); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestCallerThatLeavesIsNoFailure(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			_, cfg := serve(t, protocol, func(int) reply {
				leave()
				return hanging
			})
			c := connect(t, cfg)
			_, err := c.Infer(ctx, ask())
			if !errors.Is(err, context.Canceled) || errors.Is(err, inferenceclient.ErrDeadline) {
				t.Error(err)
			}
			if counts := c.Circuits().Circuits[0].Counts; counts.Failures != 0 || counts.Ignored != 1 {
				t.Errorf("%+v", counts)
			}
		})
	}
}

func TestHungAttemptIsMadeAgain(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			_, cfg := serve(t, protocol, firstThen(hanging))
			cfg.AttemptTimeout = 500 * time.Millisecond
			r, err := connect(t, cfg).Infer(t.Context(), ask())
			if err != nil || r.Attempts != 2 {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

func TestHedgeAnswersForOneThatHangs(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			slow, cfg := serve(t, protocol, always(hanging))
			fine, _ := serve(t, protocol, always(good))
			cfg.URLs = []string{fine.url, slow.url} // the second in turn is first
			cfg.Hedge.After = 20 * time.Millisecond
			c := connect(t, cfg)
			r, err := c.Infer(t.Context(), ask())
			if err != nil || r.Endpoint != fine.url || r.Attempts != 2 {
				t.Fatalf("%+v %v", r, err)
			}
			if len(slow.requests()) != 1 {
				t.Error("the slow one was not asked first")
			}
			if err := c.Close(); err != nil { // waits for the attempt that lost
				t.Error(err)
			}
			for _, circuit := range c.Circuits().Circuits {
				if circuit.Name == slow.url && (circuit.Counts.Slow != 1 || circuit.Counts.Failures != 0) {
					t.Errorf("%+v", circuit.Counts)
				}
			}
		})
	}
}

func TestCircuitOpensForAServerThatFails(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			f, cfg := serve(t, protocol, always(internal))
			c := connect(t, cfg)
			var err error
			for range 200 {
				if _, err = c.Infer(t.Context(), ask()); errors.Is(err, breaker.ErrRejected) {
					break
				}
			}
			failed, ok := errors.AsType[*inferenceclient.Error](err)
			if !ok || !errors.Is(err, inferenceclient.ErrUnavailable) || !errors.Is(err, breaker.ErrRejected) || failed.RetryAfter <= 0 || failed.Attempts != 0 {
				t.Fatalf("%v after %d requests", err, len(f.requests()))
			}
			if n := len(f.requests()); n < 20 || n > 100 {
				t.Errorf("it opened after %d", n)
			}
		})
	}
}

func TestFaultsOfTheCallerDoNotOpenTheCircuit(t *testing.T) {
	f, cfg := serve(t, "http", always(invalid))
	c := connect(t, cfg)
	for range 100 {
		_, _ = c.Infer(t.Context(), ask())
	}
	if len(f.requests()) != 100 {
		t.Errorf("%d requests came through", len(f.requests()))
	}
}

func TestHeadersAndTokenGoWithEachAttempt(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	type key struct{}
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			f, cfg := serve(t, protocol, firstThen(overloaded))
			c := connect(t, cfg,
				inferenceclient.WithToken(func(context.Context) (string, error) { return "secret", nil }),
				inferenceclient.WithHeaders(func(ctx context.Context, set func(name, value string)) { set("Traceparent", ctx.Value(key{}).(string)) }))
			if _, err := c.Infer(context.WithValue(t.Context(), key{}, trace), ask()); err != nil {
				t.Fatal(err)
			}
			for _, seen := range f.requests() {
				if seen.header("traceparent") != trace || seen.header("authorization") != "Bearer secret" {
					t.Errorf("%q %q", seen.header("traceparent"), seen.header("authorization"))
				}
			}
		})
	}
}

func TestBadHeadersAndTokensAreNotSent(t *testing.T) {
	f, cfg := serve(t, "http", always(good))
	for name, opt := range map[string]inferenceclient.Option{
		"line end":     inferenceclient.WithHeaders(func(_ context.Context, set func(name, value string)) { set("a", "b\r\nc: d") }),
		"bad name":     inferenceclient.WithHeaders(func(_ context.Context, set func(name, value string)) { set("a b", "c") }),
		"ours":         inferenceclient.WithHeaders(func(_ context.Context, set func(name, value string)) { set("X-Request-Id", "c") }),
		"framing":      inferenceclient.WithHeaders(func(_ context.Context, set func(name, value string)) { set("Content-Length", "0") }),
		"token broken": inferenceclient.WithToken(func(context.Context) (string, error) { return "secret\n", nil }),
		"no token":     inferenceclient.WithToken(func(context.Context) (string, error) { return "", errors.New("no luck") }),
	} {
		_, err := connect(t, cfg, opt).Infer(t.Context(), ask())
		if !errors.Is(err, inferenceclient.ErrInvalid) && !errors.Is(err, inferenceclient.ErrDenied) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestMetadataIsTheSameOverEachProtocol(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			_, cfg := serve(t, protocol, always(good))
			c, ctx := connect(t, cfg), t.Context()
			live, err := c.ServerLive(ctx)
			ready, err2 := c.ServerReady(ctx)
			model, err3 := c.ModelReady(ctx, "m", "")
			away, err4 := c.ModelReady(ctx, "away", "")
			if !live || !ready || !model || away || errors.Join(err, err2, err3, err4) != nil {
				t.Error(live, ready, model, away, err, err2, err3, err4)
			}
			if _, err := c.ModelReady(ctx, "a/b c", "1"); !errors.Is(err, inferenceclient.ErrNotFound) {
				t.Error(err)
			}
			s, err := c.ServerMetadata(ctx)
			if err != nil || fmt.Sprint(*s) != "{fake 1 [x]}" {
				t.Error(s, err)
			}
			m, err := c.ModelMetadata(ctx, "m", "")
			if err != nil || fmt.Sprint(*m) != "{m [3] p [{input FP32 [-1 2]}] [{output FP32 [-1 1]}] map[]}" {
				t.Error(m, err)
			}
			if _, err = c.ModelMetadata(ctx, "b", ""); !errors.Is(err, inferenceclient.ErrNotFound) {
				t.Error(err)
			}
		})
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			slow, cfg := serve(t, protocol, always(hanging))
			fine, _ := serve(t, protocol, always(good))
			before := goleak.IgnoreCurrent()
			cfg.URLs = []string{fine.url, slow.url}
			cfg.Hedge.After = time.Millisecond
			c, err := inferenceclient.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				if _, err := c.Infer(t.Context(), ask()); err != nil {
					t.Error(err)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			slow.drop() // the servers' ends of the connections
			fine.drop()
			goleak.VerifyNone(t, before)
		})
	}
}

// TestRefusalBeforeTheBodyWasReadIsHeard: a server that is overloaded does not take eight megabytes first.
func TestRefusalBeforeTheBodyWasReadIsHeard(t *testing.T) {
	heard := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = http.NewResponseController(w).Flush()
		<-heard
	}))
	defer server.Close()
	defer close(heard)
	cfg := inferenceclient.DefaultConfig()
	cfg.URLs = []string{server.URL}
	r := ask()
	r.Inputs = []inferenceclient.Tensor{inferenceclient.NewTensor("input", make([]float64, 1<<20))}
	_, err := connect(t, cfg).Infer(t.Context(), r)
	if failed, ok := errors.AsType[*inferenceclient.Error](err); !ok || !errors.Is(err, inferenceclient.ErrOverloaded) || failed.RetryAfter != time.Minute || failed.Attempts != 1 {
		t.Error(err)
	}
}

func TestClosedClientRefuses(t *testing.T) {
	_, cfg := serve(t, "http", always(good))
	c := connect(t, cfg)
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Infer(t.Context(), ask()); !errors.Is(err, inferenceclient.ErrClosed) {
		t.Error(err)
	}
}

func TestCloseWaitsForCalls(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			begun := make(chan struct{})
			_, cfg := serve(t, protocol, func(int) reply {
				close(begun)
				return hanging
			})
			cfg.Timeout = time.Minute
			c := connect(t, cfg)
			ctx, leave := context.WithCancel(t.Context())
			answered, closed := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := c.Infer(ctx, ask())
				answered <- err
			}()
			<-begun
			go func() { closed <- c.Close() }()
			select {
			case <-closed:
				t.Fatal("Close returned, and the call goes on")
			case <-time.After(20 * time.Millisecond):
			}
			leave()
			if err := <-answered; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultyRequestsAreNotSent(t *testing.T) {
	f, cfg := serve(t, "http", always(good))
	c := connect(t, cfg)
	tensor := inferenceclient.NewTensor("input", []float32{1, 2}, 1, 2)
	for name, r := range map[string]inferenceclient.Request{
		"no model":       {Inputs: []inferenceclient.Tensor{tensor}},
		"no input":       {Model: "m"},
		"no values":      {Model: "m", Inputs: []inferenceclient.Tensor{{}}},
		"no name":        {Model: "m", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("", []bool{true})}},
		"shape":          {Model: "m", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("a", []int64{1, 2, 3}, 2, 2)}},
		"negative":       {Model: "m", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("a", []int64{1}, -1, -1)}},
		"too large":      {Model: "m", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("a", []int64{}, 1<<31, 1<<31, 0)}},
		"parameter":      {Model: "m", Inputs: []inferenceclient.Tensor{tensor}, Parameters: map[string]any{"a": []int{1}}},
		"parameter, NaN": {Model: "m", Inputs: []inferenceclient.Tensor{tensor}, Parameters: map[string]any{"a": 0 / zero}},
	} {
		if _, err := c.Infer(t.Context(), r); !errors.Is(err, inferenceclient.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

var zero float64
