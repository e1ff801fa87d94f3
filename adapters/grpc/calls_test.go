package grpcmw

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestStatusDecidesWhatACallCountsAs(t *testing.T) {
	failures := []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.ResourceExhausted, codes.DataLoss}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		want := oneSuccess
		if code == codes.Canceled {
			want = oneIgnored
		}
		for _, f := range failures {
			if code == f {
				want = oneFailure
			}
		}
		t.Run(code.String(), func(t *testing.T) {
			noMoreGoroutines(t)
			server, client := newJoints(t, breaker.DefaultPolicy()), newJoints(t, breaker.DefaultPolicy())
			f := &flaky{}
			f.fails(status.FromProto(status.New(code, "so").Proto()).Err())
			conn := serving(t, handlers{unary: f.unary}, server.server(), client.client()...)
			if _, err := call(t.Context(), conn, "x"); status.Code(err) != code {
				t.Error(err)
			}
			client.check(t, want)
			server.check(t, want)
		})
	}
}

func TestErrorsWithoutAStatusCountAsGRPCSendsThem(t *testing.T) {
	for _, test := range []struct {
		err  error
		want breaker.Outcome
	}{
		{nil, breaker.Success},
		{errors.New("odd"), breaker.Failure},
		{context.Canceled, breaker.Ignored},
		{context.DeadlineExceeded, breaker.Failure},
		{&breaker.RejectedError{}, breaker.Ignored},
		{refuse(&limit.RejectedError{}), breaker.Ignored},
		{refuse(&ramp.RejectedError{}), breaker.Ignored},
		{status.Error(codes.ResourceExhausted, "from elsewhere"), breaker.Failure},
	} {
		if got := OutcomeOf(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

func TestHandlersThatDoNotReturnAreFailures(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("oops") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			server := newJoints(t, breaker.DefaultPolicy())
			unary, _ := ServerInterceptors(server.opts...)
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recover() }()
				unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(context.Context, any) (any, error) { end(); return nil, nil })
			}()
			<-done
			server.check(t, oneFailure)
		})
	}
}

func TestCallerWhoCancelsIsNoFailure(t *testing.T) {
	noMoreGoroutines(t)
	server, client := newJoints(t, breaker.DefaultPolicy()), newJoints(t, breaker.DefaultPolicy())
	ctx, cancel := context.WithCancel(t.Context())
	conn := serving(t, handlers{unary: func(ctx context.Context, _ string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", status.Error(codes.Internal, "interrupted")
	}}, server.server(), client.client()...)
	if _, err := call(ctx, conn, "x"); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	client.check(t, oneIgnored)
	server.check(t, oneIgnored)
}

func TestServerTellsALeaverFromADeadline(t *testing.T) {
	for name, test := range map[string]struct {
		had, left time.Duration // of the time of the call
		server    bool
		gone      bool
	}{
		"at once":             {time.Hour, time.Hour, true, true},
		"with half of it":     {time.Hour, time.Hour / 2, true, true},
		"as good as the end":  {time.Hour, 5 * time.Minute, true, false},
		"a client knows":      {time.Hour, 5 * time.Minute, false, true},
		"without a deadline":  {0, 0, true, true},
		"none, and no server": {0, 0, false, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if test.had > 0 {
			ctx, cancel = context.WithTimeout(t.Context(), test.left)
		}
		begun := time.Time{}
		if test.server {
			begun = time.Now().Add(test.left - test.had)
		}
		if gone(ctx, begun) {
			t.Errorf("%s: gone before it has left", name)
		}
		cancel()
		if gone(ctx, begun) != test.gone {
			t.Errorf("%s: gone is %v", name, !test.gone)
		}
	}
}

// retryOf returns what an error says about another try.
func retryOf(t *testing.T, err error) (codes.Code, time.Duration) {
	t.Helper()
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return s.Code(), info.RetryDelay.AsDuration()
		}
	}
	return s.Code(), 0
}

func TestRefusalsSayWhenToComeBack(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		t.Run(side, func(t *testing.T) {
			manual := clock.NewManual()
			rm, _ := ramp.New(ramp.DefaultConfig(), ramp.WithClock(manual.Clock()))
			j := newJoints(t, twoFailures(), WithRamp(rm))
			var server []grpc.ServerOption
			var client []grpc.DialOption
			if side == "server" {
				server = j.server()
			} else {
				client = j.client()
			}
			f := &flaky{}
			f.fails(status.Error(codes.Unavailable, "down"))
			conn := serving(t, handlers{unary: f.unary}, server, client...)
			for range 2 {
				call(t.Context(), conn, "x")
			}
			eventually(t, "the circuit is open", func() bool { return j.group.Snapshot().Circuits[0].State == breaker.Open })
			refused := func(code codes.Code, least, most time.Duration, sentinel error) {
				t.Helper()
				var trailer metadata.MD
				_, err := call(t.Context(), conn, "x", grpc.Trailer(&trailer))
				got, after := retryOf(t, err)
				if got != code || after < least || after > most {
					t.Errorf("%v, %v: %v", got, after, err)
				}
				if side == "client" && !errors.Is(err, sentinel) {
					t.Errorf("%v is not %v", err, sentinel)
				}
				if push := trailer.Get("grpc-retry-pushback-ms"); (len(push) == 1) != (side == "server") {
					t.Errorf("pushback %q", push)
				} else if side == "server" {
					if d, err := time.ParseDuration(push[0] + "ms"); err != nil || d < least || d > most*5/4+2*time.Millisecond {
						t.Errorf("pushback %q", push)
					}
				}
				s, err := conn.NewStream(t.Context(), bidi, bidiMethod)
				if err == nil {
					err = s.RecvMsg(&wrapperspb.StringValue{})
				}
				if got, _ := retryOf(t, err); sentinel != breaker.ErrRejected && got != code { // the stream's circuit is another
					t.Error(err)
				}
			}
			refused(codes.Unavailable, 4*time.Second, 5*time.Second, breaker.ErrRejected)
			rm.Fall(errors.New("down"))
			refused(codes.Unavailable, 4*time.Second, 5*time.Second, ramp.ErrRejected)
			j.limit.Close()
			refused(codes.Unavailable, time.Millisecond, time.Second, limit.ErrRejected)
			if n := f.calls.Load(); n != 2 {
				t.Errorf("%d calls came through", n)
			}
			eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
		})
	}
}

func TestLimitThatIsFullIsResourceExhausted(t *testing.T) {
	l, _ := limit.New(limit.Config{Slots: 1})
	f := &flaky{}
	unary, streams := ServerInterceptors(WithLimit(func(_ context.Context, c Call) *limit.Limit {
		if c.Stream {
			return nil
		}
		return l
	}, func(context.Context, Call) limit.Request { return limit.Request{Tenant: "a"} }))
	conn := serving(t, handlers{f.unary, func(s *stream) error { return nil }}, []grpc.ServerOption{grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(streams)})
	taken, _ := l.Acquire(t.Context())
	_, err := call(t.Context(), conn, "x")
	if code, after := retryOf(t, err); code != codes.ResourceExhausted || after != time.Second {
		t.Error(err)
	}
	s, err := conn.NewStream(t.Context(), bidi, bidiMethod)
	if err == nil {
		err = s.RecvMsg(&wrapperspb.StringValue{})
	}
	if err != io.EOF {
		t.Error(err)
	}
	taken.Done()
	if got, err := call(t.Context(), conn, "x"); got != "x!" || err != nil {
		t.Error(got, err)
	}
}

func TestDeadlineOfTheCallBoundsTheWaitForASlot(t *testing.T) {
	l, _ := limit.New(limit.Config{Slots: 1, Queue: 10})
	taken, _ := l.Acquire(t.Context())
	defer taken.Done()
	unary, _ := ServerInterceptors(WithLimit(func(context.Context, Call) *limit.Limit { return l }, nil))
	conn := serving(t, handlers{}, []grpc.ServerOption{grpc.UnaryInterceptor(unary)})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := call(ctx, conn, "x"); status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	eventually(t, "nobody waits", func() bool { return l.Stats().Queued == 0 })
}

func TestRetriesOfGRPCWaitAsLongAsTheServerSays(t *testing.T) {
	p := twoFailures()
	p.Open.First, p.Open.Jitter, p.Successes = 300*time.Millisecond, 0, 1
	server := newJoints(t, p)
	f := &flaky{}
	f.fails(status.Error(codes.Unavailable, "down"))
	retries := grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`)
	conn := serving(t, handlers{unary: f.unary}, server.server(), retries)
	if _, err := call(t.Context(), conn, "x"); status.Code(err) != codes.Unavailable || f.calls.Load() != 2 { // opens the circuit
		t.Fatal(err, f.calls.Load())
	}
	f.err.Store(nil)
	start := time.Now()
	if got, err := call(t.Context(), conn, "x"); got != "x!" || err != nil {
		t.Error(got, err)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("came back after %v", took)
	}
}

func TestMarkedCallsAreTheProbes(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		t.Run(side, func(t *testing.T) {
			p := twoFailures()
			p.Open.First, p.Open.Jitter, p.MarkedFor, p.Successes = time.Millisecond, 0, time.Hour, 1
			j := newJoints(t, p)
			var server []grpc.ServerOption
			var client []grpc.DialOption
			if side == "server" {
				server = j.server()
			} else {
				client = j.client()
			}
			f := &flaky{}
			f.fails(status.Error(codes.Internal, "down"))
			conn := serving(t, handlers{unary: f.unary}, server, client...)
			for range 2 {
				call(t.Context(), conn, "x")
			}
			f.err.Store(nil)
			eventually(t, "its time is over", func() bool {
				_, err := call(t.Context(), conn, "x")
				return strings.Contains(status.Convert(err).Message(), string(breaker.ReasonProbing))
			})
			if _, err := call(metadata.AppendToOutgoingContext(t.Context(), "x-ai-test", "true"), conn, "x"); err != nil {
				t.Error(err)
			}
			if _, err := call(t.Context(), conn, "x"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestShareIsThatOfTheKey(t *testing.T) {
	manual := clock.NewManual()
	config := ramp.DefaultConfig()
	config.Probing.Successes = 0
	rm, err := ramp.New(config, ramp.WithClock(manual.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	type userKey struct{}
	unary, _ := ServerInterceptors(WithRamp(rm), WithCaller(Caller{Key: func(ctx context.Context, _ Call) string { return ctx.Value(userKey{}).(string) }}))
	rm.Fall(errors.New("down"))
	manual.Advance(config.Backoff.Most)
	passes := func(user string) bool {
		_, err := unary(context.WithValue(t.Context(), userKey{}, user), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return nil, nil })
		return err == nil
	}
	n := 0
	for i := range 2000 {
		user := strings.Repeat("u", i%7) + string(rune('a'+i))
		if passes(user) {
			n++
			if !passes(user) {
				t.Fatal("let in, and then not")
			}
		}
	}
	if n < 60 || n > 140 {
		t.Errorf("%d of 2000 users passed at 5 %%", n)
	}
}

// TestRandomCallsGiveEverythingBack has many callers and handlers misbehave at once.
func TestRandomCallsGiveEverythingBack(t *testing.T) {
	for name, rules := range map[string][]string{
		"points off": nil,
		"points on": {
			`{"point":"grpc.*","probability":0.02,"error":{"cause":"reset"}}`, `{"point":"grpc.*","probability":0.05,"delay":{"fixed":"2ms"}}`,
			`{"point":"grpc.*","probability":0.01,"panic":{}}`, `{"point":"grpc.*","probability":0.01,"hang":{}}`,
			`{"point":"grpc.*","probability":0.02,"drop":{}}`, `{"point":"grpc.*","probability":0.02,"corrupt":{"mode":"random"}}`,
			`{"point":"grpc.*.stream","probability":0.05,"truncate":{"after":1}}`,
		},
		"points of the joints on": { // what hangs does so until its call ends, but at breaker.done: there until the rule does
			`{"point":"*","probability":0.02,"error":{}}`, `{"point":"*","probability":0.02,"panic":{}}`, `{"point":"*","probability":0.03,"delay":{"fixed":"2ms"}}`,
			`{"point":"limit.*","probability":0.01,"hang":{}}`, `{"point":"ramp.admit","probability":0.01,"hang":{}}`, `{"point":"breaker.allow","probability":0.01,"hang":{}}`,
			`{"point":"breaker.done","probability":0.02,"drop":{}}`,
		},
	} {
		t.Run(name, func(t *testing.T) { randomCalls(t, rules) })
	}
}

func randomCalls(t *testing.T, rules []string) {
	rnd := random(t)
	faults := faulttest.New(t)
	faultrules.Put(t, faults, rules...)
	noMoreGoroutines(t)
	p := breaker.DefaultPolicy()
	p.Open.First, p.Open.Most, p.ProbeTimeout = time.Millisecond, 2*time.Millisecond, 20*time.Millisecond
	server, client := newJointsBy(t, faults, breaker.DefaultPolicy(), WithFaults(faults)), newJointsBy(t, faults, p, WithFaults(faults))
	answer := func(ctx context.Context, req string) error {
		switch req {
		case "panic":
			panic("oops")
		case "fail":
			return status.Error(codes.Internal, "oops")
		case "slow":
			select {
			case <-ctx.Done():
			case <-time.After(3 * time.Millisecond):
			}
		}
		return nil
	}
	conn := serving(t, handlers{
		func(ctx context.Context, req string) (string, error) { return req, answer(ctx, req) },
		func(s *stream) error {
			for {
				req, err := s.receive()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				if err := answer(s.Context(), req); err != nil {
					return err
				}
				if err := s.send(req); err != nil {
					return err
				}
			}
		},
	}, server.server(), client.client()...)
	requests := []string{"panic", "fail", "slow", "slow", "x", "x", "x", "x"}
	var callers sync.WaitGroup
	var ok atomic.Int32
	for range 16 {
		rnd := newSource(rnd.Uint64())
		callers.Go(func() {
			one := func() {
				defer func() { recover() }() // from an injected panic
				timeout := time.Second
				if rnd.IntN(5) == 0 {
					timeout = time.Duration(rnd.IntN(4000)) * time.Microsecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				req := requests[rnd.IntN(len(requests))]
				if rnd.IntN(2) == 0 {
					if _, err := call(ctx, conn, req); err == nil {
						ok.Add(1)
					}
					return
				}
				s, err := conn.NewStream(ctx, bidi, bidiMethod)
				if err == nil {
					for range rnd.IntN(4) {
						s.SendMsg(wrapperspb.String(req))
						if rnd.IntN(3) > 0 && s.RecvMsg(&wrapperspb.StringValue{}) == nil {
							ok.Add(1)
						}
					}
					if rnd.IntN(2) == 0 {
						s.CloseSend()
						for s.RecvMsg(&wrapperspb.StringValue{}) == nil {
						}
					}
				}
			}
			for range 60 {
				one()
			}
		})
	}
	callers.Wait()
	faultrules.Put(t, faults)
	eventually(t, "no place is taken", func() bool { return client.limit.Stats().Admitted == 0 && server.limit.Stats().Admitted == 0 })
	for _, c := range client.group.Snapshot().Circuits {
		t.Logf("%s: %+v", c.Name, c.Counts)
	}
	if ok.Load() < 50 {
		t.Errorf("only %d answers: this tests little", ok.Load())
	}
	eventually(t, "the circuits close again", func() bool {
		_, err := call(t.Context(), conn, "x")
		s, opened := conn.NewStream(t.Context(), bidi, bidiMethod)
		if opened == nil {
			s.CloseSend()
			opened = s.RecvMsg(&wrapperspb.StringValue{})
		}
		closed := 0
		for _, c := range client.group.Snapshot().Circuits {
			if c.State == breaker.Closed {
				closed++
			}
		}
		return err == nil && opened == io.EOF && closed == 2
	})
}
