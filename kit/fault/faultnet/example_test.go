//go:build !dougong_nofault

package faultnet_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultnet"
)

var peerRead = fault.Def{Name: "peer.read", Doc: "Bytes come from a peer.", Attrs: []string{"network", "local", "remote"}, Effects: fault.Bytes}

// A read that hangs ends at its deadline, as one of a network does.
func ExampleConn() {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer set.Close()
	near, far := net.Pipe()
	defer far.Close()
	conn := faultnet.Conn(near, faultnet.Points{Read: set.Point(peerRead)})
	defer conn.Close()

	if err := set.Put(fault.Admin, fault.Rule{ID: "silence", Point: "peer.*", For: time.Minute, Hang: &fault.Hang{}}); err != nil {
		panic(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = conn.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
	// Output: true
}
