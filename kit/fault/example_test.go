//go:build !dougong_nofault

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

var charging = fault.Def{Name: "bank.charge", Doc: "The bank is asked for money.", Attrs: []string{"tenant"}, Effects: fault.Call}

// bank is a client with a boundary.
type bank struct{ charging *fault.Point }

func (b bank) charge(ctx context.Context, tenant string) error {
	if b.charging.On() {
		if err := b.charging.Hit(ctx, fault.Attr{Key: "tenant", Value: tenant}); err != nil {
			return fmt.Errorf("charge: %w", err)
		}
	}
	return nil // … the real call
}

func Example() {
	faults, err := fault.New(fault.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer faults.Close()
	b := bank{charging: faults.Point(charging)}

	err = faults.Put(fault.Admin, fault.Rule{
		ID: "acme-times-out", Point: "bank.*", Where: map[string]string{"tenant": "acme"}, For: time.Minute,
		Error: &fault.Failure{Cause: "timeout"},
	})
	if err != nil {
		panic(err)
	}
	err = b.charge(context.Background(), "acme")
	fmt.Println(err)
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, fault.ErrInjected))
	fmt.Println(b.charge(context.Background(), "globex"))
	// Output:
	// charge: injected fault at bank.charge (rule acme-times-out): i/o timeout
	// true true
	// <nil>
}
