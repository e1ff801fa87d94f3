package app

import (
	"context"
	"errors"
	"sync"
)

// publicServers runs the public listeners as one member: they stop at the same time, each within its own bound, so that
// neither takes work while the other waits for its last requests.
type publicServers []publicServer

type publicServer struct {
	run   func(ctx context.Context, ready func()) error
	drain func(ctx context.Context)
}

// Run returns when all have ended. The end of one ends the others.
func (all publicServers) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var servers, starting sync.WaitGroup
	faults := make([]error, len(all))
	starting.Add(len(all))
	for i, s := range all {
		servers.Go(func() {
			started := sync.OnceFunc(starting.Done)
			defer started()
			defer stop() // before it counts as started
			faults[i] = s.run(ctx, started)
		})
	}
	starting.Wait()
	if ctx.Err() == nil {
		ready()
	}
	servers.Wait()
	return errors.Join(faults...)
}

// Drain has each fail its readiness, while it goes on serving.
func (all publicServers) Drain(ctx context.Context) {
	var servers sync.WaitGroup
	for _, s := range all {
		servers.Go(func() { s.drain(ctx) })
	}
	servers.Wait()
}
