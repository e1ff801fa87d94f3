//go:build linux

package supervisor

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
	sdk "github.com/dougong-io/dougong/services/inference/worker"
)

// The test binary is a worker when it is started as one. Its model adds the two numbers of a row; what it does beside that
// the first of them says.
const (
	crashes    = 1001 // SIGSEGV
	exits      = 1002
	hangs      = 1003
	takesTime  = 1004 // 50 ms
	twice      = 1005 // answers twice
	others     = 1006 // answers a call that nobody made
	misshapes  = 1007
	floods     = 1008
	invalid    = 1009 // FAILURE 1
	garbles    = 1010
	stops      = 1011 // SIGSTOP
	grows      = 1012 // by 64 MiB
	breaks     = 1013 // FAILURE 4
	takesLong  = 1014 // 1 s, whatever CANCEL says
	obeys      = 1015 // 10 s, or until CANCEL
	misnames   = 1016
	truncates  = 1017 // half an answer, then silence
	notANumber = 1018
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("DOUGONG_TEST_WORKER"); mode != "" {
		os.Exit(serve(mode))
	}
	os.Exit(m.Run())
}

var (
	cancelled atomic.Uint64
	grown     [][]byte
)

func serve(mode string) int {
	control := os.NewFile(3, "control")
	lanes, _ := strconv.Atoi(os.Getenv("DOUGONG_WORKER_LANES"))
	mode, file, _ := strings.Cut(mode, " ")
	switch mode {
	case "forks": // a child that keeps the sockets
		if _, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "20"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2, 3, 4, 5}}); err != nil {
			panic(err)
		}
	case "stalls", "aborts":
		return sdk.Serve(engine{mode, file}, sdk.Options{Name: mode})
	case "exits":
		fmt.Fprintln(os.Stderr, "no such device")
		return 7
	case "silent":
		time.Sleep(time.Minute)
	case "garbage":
		control.WriteString("HTTP/1.1 400 Bad Request\r\n\r\n")
		time.Sleep(time.Minute)
	case "prints":
		for i := range 1000 {
			fmt.Println("line", i)
		}
	}
	r := wire.Reader{R: control, Max: wire.MaxControlBytes}
	say := func(t wire.Type, id uint64, message any) {
		frame, err := wire.AppendControl(nil, t, id, message)
		if err != nil {
			panic(err)
		}
		control.Write(frame)
	}
	for {
		h, body, err := r.Next()
		if err != nil {
			return 1
		}
		switch h.Type {
		case wire.TypeHello:
			if mode == "future" {
				control.Write(wire.Failf(wire.Unsupported, "this worker speaks version 9").Append(nil, h.ID))
				return 1
			}
			say(wire.TypeHello, h.ID, wire.Welcome{Version: 1, Name: "adder", Engine: "go"})
		case wire.TypeLoad:
			var load wire.Load
			if err := wire.ParseControl(h.Type, body, &load); err != nil {
				panic(err)
			}
			model := make([]byte, load.Bytes)
			if _, err := io.ReadFull(os.NewFile(uintptr(load.FD), "model"), model); err != nil || string(model) != "a model" {
				control.Write(wire.Failf(wire.Refused, "the model is %q, %v", model, err).Append(nil, h.ID))
				return 1
			}
			if mode == "refuses" {
				control.Write(wire.Failf(wire.Refused, "opset 99 is not known").Append(nil, h.ID))
				return 1
			}
			width := int64(2)
			if mode == "wide" {
				width = 3
			}
			say(wire.TypeLoaded, h.ID, wire.Loaded{
				Inputs:  []wire.Spec{{Name: "in", Datatype: wire.FP32, Shape: []int64{-1, width}}},
				Outputs: []wire.Spec{{Name: "out", Datatype: wire.FP32, Shape: []int64{-1, 1}}},
			})
			for i := range lanes {
				go serveLane(mode, os.NewFile(uintptr(4+i), "lane"))
			}
		case wire.TypePing:
			if mode == "deaf" {
				continue
			}
			pong := wire.Pong{RSSBytes: 1 << 20}
			if len(grown) > 0 {
				pong.RSSBytes = 64 << 20
			}
			say(wire.TypePong, h.ID, pong)
		case wire.TypeCancel:
			cancelled.Store(h.ID)
		case wire.TypeDrain:
			return 0
		}
	}
}

func serveLane(mode string, lane *os.File) {
	r := wire.Reader{R: lane, Max: math.MaxInt32}
	var call wire.Call
	for {
		h, body, err := r.Next()
		if err != nil {
			return
		}
		if err := call.Parse(body); err != nil {
			panic(err)
		}
		in := call.Inputs[0]
		rows := int(in.Shape[0])
		data := make([]byte, 4*rows)
		what := 0
		for i := range rows {
			a := math.Float32frombits(binary.LittleEndian.Uint32(in.Data[8*i:]))
			b := math.Float32frombits(binary.LittleEndian.Uint32(in.Data[8*i+4:]))
			sum := a + b
			if mode == "wrong" {
				sum++
			}
			if a > 1000 && a < 1100 {
				what = int(a)
			}
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(sum))
		}
		answer := wire.Answer{Outputs: []wire.Tensor{{Name: []byte("out"), Datatype: wire.FP32, Shape: []int64{int64(rows), 1}, Data: data}}}
		id := h.ID
		switch what {
		case crashes:
			syscall.Kill(os.Getpid(), syscall.SIGSEGV)
			time.Sleep(time.Minute)
		case exits:
			os.Exit(3)
		case hangs:
			time.Sleep(time.Hour)
		case takesTime:
			time.Sleep(50 * time.Millisecond)
		case takesLong:
			time.Sleep(time.Second)
		case obeys:
			for range 1000 {
				if cancelled.Load() == id {
					lane.Write(wire.Failf(wire.Cancelled, "as asked").Append(nil, id))
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			continue
		case twice:
			lane.Write(answer.Append(nil, id))
		case others:
			id++
		case misshapes:
			answer.Outputs[0].Shape = []int64{int64(rows), 2}
			answer.Outputs[0].Data = append(data, data...)
		case misnames:
			answer.Outputs[0].Name = []byte("other")
		case floods:
			go func() {
				for {
					if _, err := lane.Write(answer.Append(nil, id)); err != nil {
						return
					}
				}
			}()
		case invalid:
			lane.Write(wire.Failf(wire.Invalid, "1009 is not a number").Append(nil, id))
			continue
		case breaks:
			lane.Write(wire.Failf(wire.Failed, "out of registers").Append(nil, id))
			continue
		case garbles:
			frame := answer.Append(nil, id)
			frame[wire.HeaderBytes+6] = 1
			lane.Write(frame)
			continue
		case truncates:
			lane.Write(answer.Append(nil, id)[:40])
			time.Sleep(time.Hour)
		case stops:
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case grows:
			grown = append(grown, make([]byte, 64<<20))
		}
		lane.Write(answer.Append(nil, id))
	}
}

// engine adds as well. It stalls while a file is there, or aborts where it is asked for much memory, which is before a frame
// has arrived.
type engine struct{ mode, file string }

func (e engine) Load(context.Context, wire.Load, *os.File) (sdk.Model, wire.Loaded, error) {
	return e, wire.Loaded{
		Inputs:   []wire.Spec{{Name: "in", Datatype: wire.FP32, Shape: []int64{-1, 2}}},
		Outputs:  []wire.Spec{{Name: "out", Datatype: wire.FP32, Shape: []int64{-1, 1}}},
		Parallel: true,
	}, nil
}
func (e engine) NewLane() (sdk.Lane, error) { return &engineLane{engine: e}, nil }
func (engine) Memory() sdk.Memory           { return sdk.Memory{} }
func (engine) Close() error                 { return nil }

type engineLane struct {
	engine
	calls int
}

func (l *engineLane) Buffer(n int) []byte {
	if l.mode == "aborts" && n > 1<<20 {
		syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Minute)
	}
	return make([]byte, n)
}

func (l *engineLane) Close() {}

func (l *engineLane) Call(_ context.Context, call *wire.Call, a *sdk.Answer) error {
	l.calls++
	for l.mode == "stalls" && l.calls > 1 { // the golden row at the start is answered
		if _, err := os.Stat(l.file); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	in := call.Inputs[0]
	out, err := a.Space("out", wire.FP32, []int64{in.Shape[0], 1})
	if err != nil {
		return err
	}
	for i := range int(in.Shape[0]) {
		x := math.Float32frombits(binary.LittleEndian.Uint32(in.Data[8*i:])) + math.Float32frombits(binary.LittleEndian.Uint32(in.Data[8*i+4:]))
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(x))
	}
	return nil
}
