package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serverThat begins after a while, unless it fails with an error, and takes a while to stop.
func serverThat(begins, stops time.Duration, err error, ended *atomic.Int32) publicServer {
	return publicServer{
		run: func(ctx context.Context, ready func()) error {
			defer ended.Add(1)
			time.Sleep(begins)
			if err != nil {
				return err
			}
			ready()
			<-ctx.Done()
			time.Sleep(stops)
			return nil
		},
		drain: func(context.Context) { time.Sleep(stops) },
	}
}

func TestPublicServersStopAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		servers := publicServers{serverThat(time.Second, 10*time.Second, nil, &ended), serverThat(3*time.Second, 8*time.Second, nil, &ended)}
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		ready, done := make(chan struct{}), make(chan error)
		go func() { done <- servers.Run(ctx, func() { close(ready) }) }()
		<-ready
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("ready after %v, the slower one is after 3s", took)
		}
		stop()
		began = time.Now()
		if err := <-done; err != nil || ended.Load() != 2 {
			t.Errorf("%v, %d ended", err, ended.Load())
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("stopped one after the other: %v", took)
		}
		began = time.Now()
		servers.Drain(t.Context())
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("drained one after the other: %v", took)
		}
	})
}

func TestOnePublicServerThatFailsEndsTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		fault := errors.New("port taken")
		for _, when := range []time.Duration{0, time.Second} {
			servers := publicServers{serverThat(0, time.Second, nil, &ended), serverThat(when, 0, fault, &ended)}
			err := servers.Run(t.Context(), func() { t.Error("ready, though one of them failed") })
			if !errors.Is(err, fault) {
				t.Error(err)
			}
		}
		if ended.Load() != 4 {
			t.Errorf("%d ended", ended.Load())
		}
	})
}
