package etcd_test

import (
	"fmt"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/kit/fault"
)

func ExampleWatchFaults() {
	faults, err := fault.New(fault.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer faults.Close()
	source, err := etcd.New(etcd.DefaultConfig(), etcd.WithFaults(faults))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := etcd.WatchFaults(source, faults); err != nil {
		fmt.Println(err)
		return
	}
	// … then source.Run(ctx), on a goroutine that the caller waits for.
	prefix := etcd.DefaultConfig().Prefix
	fmt.Println("etcdctl put", prefix+etcd.FaultRulesKey, `'{"version":1,"rules":[…]}'`)
	fmt.Println("etcdctl put", prefix+etcd.FaultKillKey, "now")
	// Output:
	// etcdctl put /dougong/faults/rules '{"version":1,"rules":[…]}'
	// etcdctl put /dougong/faults/kill now
}
