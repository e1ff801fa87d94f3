package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// lie is a worker that speaks the protocol by hand, and breaks it in one way.
func lie(kind string) {
	control := os.NewFile(3, "control")
	n, _ := strconv.Atoi(os.Getenv("DOUGONG_WORKER_LANES"))
	loaded := wire.Loaded{
		Inputs:  []wire.Spec{{Name: "x", Datatype: wire.FP32, Shape: []int64{-1, 4}}},
		Outputs: []wire.Spec{{Name: "y", Datatype: wire.FP32, Shape: []int64{-1, 4}}},
	}
	r := wire.Reader{R: control, Max: wire.MaxControlBytes}
	for {
		h, body, err := r.Next()
		if err != nil {
			if kind == "outlives" {
				time.Sleep(time.Minute)
			}
			os.Exit(2)
		}
		say := func(t wire.Type, message any) {
			frame, _ := wire.AppendControl(nil, t, h.ID, message)
			_, _ = control.Write(frame)
		}
		switch h.Type {
		case wire.TypeHello:
			say(wire.TypeHello, wire.Welcome{Version: 1, Name: "liar"})
		case wire.TypeLoad:
			var load wire.Load
			_ = json.Unmarshal(body, &load)
			if kind == "metadata" {
				loaded.Inputs[0].Shape[1] = 5
			}
			say(wire.TypeLoaded, loaded)
			for i := range n {
				go lyingLane(kind, i)
			}
		case wire.TypePing:
			if kind == "no pong" {
				continue
			}
			say(wire.TypePong, wire.Pong{})
		}
	}
}

func lyingLane(kind string, i int) {
	lane := os.NewFile(uintptr(4+i), "lane")
	r := wire.Reader{R: lane, Max: 64 << 20}
	for k := 0; ; k++ {
		h, body, err := r.Next()
		if err != nil {
			return
		}
		var call wire.Call
		if call.Parse(body) != nil {
			fmt.Println("malformed")
			os.Exit(2)
		}
		if len(call.Inputs) == 0 {
			_, _ = lane.Write(wire.Failf(wire.Invalid, "x is missing").Append(nil, h.ID))
			continue
		}
		x := call.Inputs[0]
		answer := wire.Answer{Outputs: []wire.Tensor{{Name: []byte("y"), Datatype: x.Datatype, Shape: x.Shape, Data: x.Data}}}
		id := h.ID
		switch kind {
		case "another id":
			id++
		case "another shape":
			answer.Outputs[0].Shape = []int64{1, 2, 2}
		case "another name":
			answer.Outputs[0].Name = []byte("z")
		case "descriptors":
			for range 3 {
				_, _ = os.Open("/dev/null")
			}
		case "crash":
			os.Exit(9)
		case "mute":
			continue
		}
		frame := answer.Append(nil, id)
		switch kind {
		case "malformed":
			frame[4] = 0
		case "twice":
			frame = append(frame, frame...)
		}
		_, _ = lane.Write(frame)
	}
}
