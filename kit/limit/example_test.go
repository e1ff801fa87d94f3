package limit_test

import (
	"context"
	"errors"
	"fmt"
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
