package etcd_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
)

func Example() {
	config := etcd.DefaultConfig()
	config.Endpoints = []string{"http://127.0.0.1:1"} // where nobody is
	config.RequestTimeout = 100 * time.Millisecond
	source, err := etcd.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}

	inForce := 30 // what the process was configured with
	decode := func(value []byte) (int, error) { return strconv.Atoi(string(value)) }
	apply := func(v int) error { inForce = v; return nil }
	if err := etcd.Watch(source, "retries", decode, apply, etcd.OnDelete(func(string) error { return apply(30) })); err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := source.Run(ctx); err != nil {
			fmt.Println(err)
		}
	})
	<-source.Settled() // etcd had its chance
	fmt.Println("connected:", source.Status().Connected)
	cancel()
	running.Wait()
	fmt.Println("in force:", inForce)
	// Output:
	// connected: false
	// in force: 30
}
