package limit_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
)

func Example() {
	l, err := limit.New(limit.Config{Slots: 1, Queue: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	permit, err := l.Admit(time.Now().Add(time.Second)) // before the body is read
	if err != nil {
		fmt.Println(err)
		return
	}
	defer permit.Done()
	// … read the body, then:
	fmt.Println(permit.Start(context.Background()), l.Stats().Running)
	// Output: <nil> 1
}

func ExampleLimit_Acquire() {
	l, _ := limit.New(limit.Config{Slots: 1, Queue: 0})
	ctx := context.Background()

	permit, _ := l.Acquire(ctx)
	_, err := l.Acquire(ctx)
	if rejected, ok := errors.AsType[*limit.RejectedError](err); ok {
		fmt.Println(rejected.Reason, rejected.RetryAfter)
	}
	permit.Done()
	permit.Done() // harmless
	_, err = l.Acquire(ctx)
	fmt.Println(err)
	// Output:
	// queue_full 1s
	// <nil>
}

func ExampleLimit_AcquireFor() {
	l, _ := limit.New(limit.Config{Slots: 1, Queue: 2})
	ctx := context.Background()

	slot, _ := l.Acquire(ctx)
	waiting := make(chan string, 3)
	ask := func(name string, r limit.Request) {
		queued := l.Stats().Queued
		go func() {
			permit, err := l.AcquireFor(ctx, r)
			if rejected, ok := errors.AsType[*limit.RejectedError](err); ok {
				waiting <- fmt.Sprint(name, ": ", rejected.Reason)
				return
			}
			waiting <- name
			permit.Done()
		}()
		for l.Stats().Queued == queued { // until it waits
			time.Sleep(time.Millisecond)
		}
	}
	ask("first export", limit.Request{Tenant: "a", Priority: limit.Batch})
	ask("page", limit.Request{Tenant: "b"})
	go ask("payment", limit.Request{Tenant: "c", Priority: limit.Critical}) // and the queue is full
	fmt.Println(<-waiting)
	slot.Done()
	fmt.Println(<-waiting)
	fmt.Println(<-waiting)
	// Output:
	// first export: displaced
	// payment
	// page
}

// Work in blocks, on its own slot and those that nobody else needs.
func ExamplePermit_Extra() {
	l, _ := limit.New(limit.Config{Slots: 4, Queue: 16})
	ctx := context.Background()
	permit, err := l.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer permit.Done()

	const blocks = 64
	var next, rows atomic.Int64
	work := func() bool { // does one block, and tells whether there may be more
		if next.Add(1) > blocks {
			return false
		}
		rows.Add(256)
		return next.Load() < blocks
	}
	var extras sync.WaitGroup
	for work() {
		if slot, ok := permit.Extra(); ok {
			extras.Go(func() {
				defer slot.Done()
				for work() && slot.Keep() {
				}
			})
		}
		if err = permit.Yield(ctx); err != nil {
			next.Store(blocks) // nobody begins another
		}
	}
	extras.Wait()
	fmt.Println(rows.Load(), err, l.Stats().Running)
	// Output: 16384 <nil> 1
}

func ExamplePermit_Yield() {
	l, _ := limit.New(limit.Config{Slots: 1, Queue: 16})
	ctx := context.Background()
	long, _ := l.Acquire(ctx)
	defer long.Done()

	go func() {
		short, _ := l.Acquire(ctx)
		fmt.Println("a short request")
		short.Done()
	}()
	for l.Stats().Queued == 0 { // until it waits
		time.Sleep(time.Millisecond)
	}
	for block := range 3 {
		if block > 0 {
			if err := long.Yield(ctx); err != nil {
				fmt.Println(err)
				return
			}
		}
		fmt.Println("block", block)
	}
	// Output:
	// block 0
	// a short request
	// block 1
	// block 2
}

func ExampleAdaptive() {
	adaptive := limit.DefaultAdaptive()
	l, err := limit.New(limit.Config{Slots: 16, Queue: 64, Adaptive: &adaptive})
	if err != nil {
		fmt.Println(err)
		return
	}
	permit, _ := l.Acquire(context.Background())
	permit.DoneWith(limit.Overloaded) // as the engine has answered
	fmt.Println(l.Stats().Slots)
	// Output: 11
}

func ExampleNewListener() {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	config := limit.DefaultConnConfig()
	config.MaxPerClient = 100
	l, err := limit.NewListener(socket, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	// server.Serve(l), or ServeTLS: it belongs beneath TLS
	fmt.Println(l.Stats().Open)
	_ = l.Close()
	// Output: 0
}
