package grpcserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// gate is a handler that says when it was entered and waits.
func gate() (svc Service, entered chan struct{}, leave chan struct{}) {
	entered, leave = make(chan struct{}, 16), make(chan struct{})
	return inference(func(ctx context.Context, _ *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		entered <- struct{}{}
		<-leave
		return &inferencepb.ModelReadyResponse{Ready: true}, nil
	}), entered, leave
}

func TestStopWaitsForCallsInFlight(t *testing.T) {
	svc, entered, leave := gate()
	r := start(t, testConfig(), Deps{}, svc)
	cc := r.dial(t)
	answered := make(chan error, 1)
	go func() { answered <- ask(context.Background(), cc) }()
	<-entered
	if all := r.InFlight(); len(all) != 1 || all[0].Method != readyMethod || all[0].TraceID == "" {
		t.Errorf("in flight %v", all)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	<-r.stopping.Done()
	for { // the listener closes first
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case err := <-stopped:
		t.Fatal("stopped with a call in flight:", err)
	default:
	}
	close(leave)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestDrainNamesWhatDidNotEnd(t *testing.T) {
	svc, entered, leave := gate()
	cfg := testConfig()
	cfg.DrainTimeout = 100 * time.Millisecond
	r := start(t, cfg, Deps{}, svc)
	cc := r.dial(t)
	answered := make(chan error, 12)
	for range cap(answered) {
		go func() { answered <- ask(context.Background(), cc) }()
		<-entered
	}
	begun := time.Now()
	err := r.stop()
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("stopped after %v", d)
	}
	late, ok := errors.AsType[*DrainError](err)
	if !ok || len(late.Calls) != 12 || late.After != cfg.DrainTimeout || !strings.Contains(err.Error(), "12 calls had not ended") ||
		!strings.Contains(err.Error(), readyMethod+" (trace ") || !strings.Contains(err.Error(), "and 2 more") {
		t.Errorf("error %v", err)
	}
	for range cap(answered) {
		wantCode(t, <-answered, codes.Unavailable, "")
	}
	close(leave)
	for len(r.InFlight()) > 0 { // goleak looks
		time.Sleep(time.Millisecond)
	}
}

func TestStreamsEndWhenTheServerStops(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(echo, echoes))
	cc := r.dial(t)
	stream, err := cc.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Texts/Stream", grpc.ForceCodecV2(clientCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&text{s: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&text{}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := r.stop(); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("stopped after %v with %v", time.Since(begun), err)
	}
	if code := status.Code(stream.RecvMsg(&text{})); code != codes.Unavailable && code != codes.Canceled {
		t.Errorf("the client got %v", code)
	}
}

func TestConnectionsThatNeverBecameOneDoNotHoldAStop(t *testing.T) {
	for name, sent := range map[string]string{"silent": "", "one byte": "P", "a greeting": http2.ClientPreface} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.HandshakeTimeout, cfg.DrainTimeout = 20*time.Second, 20*time.Second
			r := start(t, cfg, Deps{}, inference(isReady))
			cc := r.dial(t) // is not cut: it ends in peace
			if err := ask(context.Background(), cc); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte(sent)); err != nil {
				t.Fatal(err)
			}
			for r.Clients().Open != 2 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond) // it is read
			begun := time.Now()
			if err := r.stop(); err != nil || time.Since(begun) > 10*time.Second {
				t.Errorf("stopped after %v with %v", time.Since(begun), err)
			}
		})
	}
}

// TestNoCallIsLostInAStop: those who call while the server goes away are answered, or told that nothing was done.
func TestNoCallIsLostInAStop(t *testing.T) {
	var begun, answered atomic.Int64
	r := start(t, testConfig(), Deps{}, inference(func(context.Context, *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		begun.Add(1)
		time.Sleep(rand.N(time.Millisecond))
		return &inferencepb.ModelReadyResponse{}, nil
	}))
	var callers sync.WaitGroup
	for range 4 {
		cc := r.dial(t)
		callers.Go(func() {
			for {
				err := ask(within(t, 5*time.Second), cc)
				if err != nil {
					if status.Code(err) != codes.Unavailable {
						t.Error(err)
					}
					return
				}
				answered.Add(1)
			}
		})
	}
	for begun.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	callers.Wait()
	if begun.Load() != answered.Load() {
		t.Errorf("%d calls were begun, %d answered", begun.Load(), answered.Load())
	}
}

func TestRunIsCalledOnceAndSaysWhereItCannotListen(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	if err := r.Run(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
	cfg := testConfig()
	cfg.Listen = r.addr
	other, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if other.Addr() != nil {
		t.Error("an address before Run")
	}
	if err := other.Run(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "the key listen") {
		t.Error(err)
	}
}
