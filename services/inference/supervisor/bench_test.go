//go:build linux

package supervisor

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"
)

// BenchmarkPredict is the way to a worker that has nothing to do, and back.
func BenchmarkPredict(b *testing.B) {
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p, err := New(DefaultConfig(), Command{Path: program, Env: []string{"DOUGONG_TEST_WORKER=adds"}}, adder, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for p.Healthy() != nil {
		time.Sleep(time.Millisecond)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		call, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		row, answer := []float64{1, 2}, make([]float64, 1)
		for b.Loop() {
			if err := p.Predict(call, answer, row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crowd", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			call, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			row, answer := []float64{1, 2}, make([]float64, 1)
			for pb.Next() {
				if err := p.Predict(call, answer, row); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
