package grpcserver

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/api/inference"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// BenchmarkUnary: an echo behind all that the server does, beside one behind nothing; the client's cost is in both.
func BenchmarkUnary(b *testing.B) {
	message := strings.Repeat("x", 200)
	run := func(b *testing.B, addr string, ctx func() (context.Context, context.CancelFunc)) {
		cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer cc.Close()
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ctx, cancel := ctx()
				if _, err := say(ctx, cc, message); err != nil {
					b.Error(err)
				}
				cancel()
			}
		})
	}
	forever := func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
	bare := func(b *testing.B, ctx func() (context.Context, context.CancelFunc)) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		s := grpc.NewServer(grpc.ForceServerCodecV2(clientCodec{}))
		svc := texts(echo, echoes)
		s.RegisterService(svc.Desc, svc.Impl)
		go s.Serve(l)
		defer s.Stop()
		run(b, l.Addr().String(), ctx)
	}
	ours := func(b *testing.B, ctx func() (context.Context, context.CancelFunc), change func(*Config)) {
		cfg := testConfig()
		change(&cfg)
		s, err := New(cfg, Deps{AccessLog: io.Discard})
		if err != nil {
			b.Fatal(err)
		}
		s.Register(texts(echo, echoes))
		stop, cancel := context.WithCancel(context.Background())
		ready, ended := make(chan struct{}), make(chan error)
		go func() { ended <- s.Run(stop, func() { close(ready) }) }()
		<-ready
		run(b, s.Addr().String(), ctx)
		cancel()
		<-ended
	}
	minute := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 1<<36)
	}
	b.Run("bare", func(b *testing.B) { bare(b, forever) })
	b.Run("ours", func(b *testing.B) { ours(b, forever, func(*Config) {}) })
	b.Run("ours/unlogged", func(b *testing.B) { ours(b, forever, func(c *Config) { c.AccessLog = false }) })
	b.Run("bare/deadline", func(b *testing.B) { bare(b, minute) })
	b.Run("ours/deadline", func(b *testing.B) { ours(b, minute, func(*Config) {}) })
}

// BenchmarkRules is what a small message costs, and a start.
func BenchmarkRules(b *testing.B) {
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			r, err := newRules()
			if err != nil {
				b.Fatal(err)
			}
			if err := r.compile("inference.GRPCInferenceService"); err != nil {
				b.Fatal(err)
			}
		}
	})
	r, err := newRules()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ModelReadyRequest", func(b *testing.B) {
		m := &inferencepb.ModelReadyRequest{Name: "loan", Version: "3"}
		b.ReportAllocs()
		for b.Loop() {
			if err := r.check(m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ServerLiveRequest", func(b *testing.B) {
		m := &inferencepb.ServerLiveRequest{}
		b.ReportAllocs()
		for b.Loop() {
			if err := r.check(m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ModelInferRequest", func(b *testing.B) {
		m := &inferencepb.ModelInferRequest{
			ModelName: "loan", RawInputContents: [][]byte{make([]byte, 80)},
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{1, 20}}},
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := r.check(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
