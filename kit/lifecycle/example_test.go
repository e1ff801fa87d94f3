package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/lifecycle"
)

func Example() {
	ctx, stop := lifecycle.Signals(context.Background(), nil)
	defer stop()

	member := func(name string) lifecycle.Member {
		return lifecycle.Member{Name: name, Run: func(ctx context.Context, ready func()) error {
			fmt.Println(name, "serves")
			ready()
			<-ctx.Done()
			fmt.Println(name, "ended")
			return nil
		}}
	}
	config := lifecycle.DefaultConfig()
	config.DrainDelay = 0 // no load balancer is watching
	group, err := lifecycle.NewGroup("shop", config, []lifecycle.Member{member("store"), member("web")})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Stands for the SIGTERM that would come from outside.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	fmt.Println(group.Run(ctx), group.State())
	// Output:
	// store serves
	// web serves
	// web ended
	// store ended
	// <nil> Stopped
}

func ExampleMachine() {
	model := lifecycle.NewMachine("fraud-v7")
	fmt.Println(model.State(), model.State().Serving())

	_ = model.To(lifecycle.Degraded, errors.New("worker lost"))
	fmt.Println(model.State(), model.State().Serving(), model.Status().Cause)

	// The way back leads through Recovering.
	err := model.To(lifecycle.Ready, nil)
	fmt.Println(err, errors.Is(err, lifecycle.ErrIllegalTransition))
	// Output:
	// Initializing false
	// Degraded true worker lost
	// lifecycle: fraud-v7: illegal transition from Degraded to Ready true
}
