package fault_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
	"github.com/dougong-io/dougong/prove/fault"
)

// What do 20 ms at the bank do to a shop? A run for earnest takes longer windows and more pairs.
func ExampleRun() {
	faults, err := inject.New(inject.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer faults.Close()
	bank := faults.Point(inject.Def{Name: "bank.charge", Doc: "The bank is asked for money.", Effects: inject.Call})
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bank.On() {
			if err := bank.Hit(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
			}
		}
	}))
	defer shop.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"state":"Ready"}`) })
	for pattern, handler := range faultadmin.Routes(faults, inject.Admin) {
		mux.Handle(pattern, handler)
	}
	admin := httptest.NewServer(mux)
	defer admin.Close()
	journal, err := os.MkdirTemp("", "journal-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(journal)

	plan := fault.DefaultPlan()
	plan.Services = []fault.Service{{Name: "shop", Admin: admin.URL}}
	plan.Load.Target = shop.URL
	plan.Faults = []fault.Fault{{Name: "slow bank", Rule: &fault.Rule{Point: "bank.charge", Delay: &inject.Delay{Fixed: 20 * time.Millisecond}}}}
	plan.Control, plan.Pairs = false, 2
	plan.Warmup, plan.Window, plan.Guard = fault.Duration(time.Second), fault.Duration(300*time.Millisecond), fault.Duration(50*time.Millisecond)
	result, err := fault.Run(context.Background(), plan, fault.Options{Journal: journal})
	if err != nil {
		fmt.Println(err)
		return
	}
	row := result.Rows[0]
	slower := row.On.Latency.Quantile(0.5) - row.Off.Latency.Quantile(0.5)
	fmt.Println(row.Detail)
	fmt.Println("it was hit:", row.Hits > 0)
	fmt.Println("it cost 15 ms or more:", row.Pairs == 0 || slower > 15e6)
	fmt.Println("rules left:", len(faults.Status().Rules))
	// Output:
	// delay fixed 20ms at bank.charge
	// it was hit: true
	// it cost 15 ms or more: true
	// rules left: 0
}
