//go:build unix

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

func TestCallsAreAnsweredOnAllLanesAtOnce(t *testing.T) {
	s := ready(t, &echo{}, 3)
	var all sync.WaitGroup
	for i, lane := range s.lanes {
		one := *s
		one.readers = map[*os.File]*wire.Reader{}
		all.Go(func() {
			for k := range 200 {
				one.answered(lane, uint64(i*1000+k), make([]float32, k*7)...)
			}
		})
	}
	all.Wait()
}

func TestPongTellsHowTheWorkerIs(t *testing.T) {
	held, begun := make(chan struct{}), make(chan struct{})
	s := ready(t, &echo{call: func(_ context.Context, c *wire.Call, _ *Answer) error {
		if len(c.Inputs[0].Data) == 4 {
			begun <- struct{}{}
			<-held
		}
		return nil
	}}, 2)
	s.answered(s.lanes[0], 1, 1, 2)
	s.write(s.lanes[1], call(2, 0, 1))
	<-begun
	s.write(s.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypePing, ID: 77}))
	h, body := s.read(s.control)
	var p wire.Pong
	if err := wire.ParseControl(h.Type, body, &p); err != nil || h.Type != wire.TypePong || h.ID != 77 {
		t.Fatalf("%+v %s %v", h, body, err)
	}
	if p.Calls != 1 || p.InFlight != 1 || p.NativeBytes != 11 || p.DeviceBytes != 12 || p.RSSBytes < 1<<20 || p.Threads < 2 {
		t.Errorf("%+v", p)
	}
	close(held)
	s.read(s.lanes[1])
}

func TestVersionsThatTheWorkerDoesNotSpeakAreRefused(t *testing.T) {
	s := serve(t, &echo{}, 1)
	frame, _ := wire.AppendControl(nil, wire.TypeHello, 5, wire.Hello{Versions: []int{2, 3}, MaxFrameBytes: 1 << 20})
	s.write(s.control, frame)
	if message := s.failed(s.control, 5, wire.Unsupported); !strings.Contains(message, "speaks versions [1]") {
		t.Error(message)
	}
	s.exits(refused)
}

func TestLoadThatFailsIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		engine *echo
		edit   func(*wire.Load)
		code   wire.Code
		want   string
	}{
		"option":    {&echo{load: func(l wire.Load) error { return UnknownOptions(l, "arena") }}, func(l *wire.Load) { l.Options = map[string]string{"b": "1", "arena": "on", "a": ""} }, wire.Refused, `unknown options: "a", "b"; there are: arena`},
		"size":      {&echo{}, func(l *wire.Load) { l.Bytes++ }, wire.Refused, "the model has 5 bytes, not the 6 of LOAD"},
		"no file":   {&echo{}, func(l *wire.Load) { l.FD = 999 }, wire.Refused, "descriptor 999 of the model"},
		"error":     {&echo{load: func(wire.Load) error { return errors.New("no such operator") }}, func(*wire.Load) {}, wire.Refused, "no such operator"},
		"exhausted": {&echo{load: func(wire.Load) error { return fmt.Errorf("session: %w", wire.Failf(wire.Exhausted, "memory")) }}, func(*wire.Load) {}, wire.Exhausted, "memory"},
		"panic":     {&echo{load: func(wire.Load) error { panic("boom") }}, func(*wire.Load) {}, wire.Failed, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, test.engine, 1)
			s.hello()
			load := wire.Load{Model: "m", Format: "f", FD: handed(t, model(t, "bytes")), Bytes: 5}
			test.edit(&load)
			frame, _ := wire.AppendControl(nil, wire.TypeLoad, 6, load)
			s.write(s.control, frame)
			if message := s.failed(s.control, 6, test.code); !strings.Contains(message, test.want) {
				t.Error(message)
			}
			s.exits(refused)
		})
	}
}

func TestErrorsOfTheEngineAreFailuresAndTheLaneLivesOn(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code wire.Code
		want string
	}{
		"invalid": {fmt.Errorf("run: %w", wire.Failf(wire.Invalid, "shape")), wire.Invalid, "shape"},
		"other":   {errors.New("device lost"), wire.Failed, "device lost"},
		"panic":   {nil, wire.Failed, "the engine panicked: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := ready(t, &echo{call: func(_ context.Context, c *wire.Call, a *Answer) error {
				if len(c.Inputs[0].Data) > 0 {
					return nil
				}
				_ = a.Add("half", wire.UINT8, []int64{1}, []byte{1})
				if test.err == nil {
					panic("boom")
				}
				return test.err
			}}, 1)
			s.write(s.lanes[0], call(8, 0))
			if message := s.failed(s.lanes[0], 8, test.code); message != test.want {
				t.Error(message)
			}
			s.answered(s.lanes[0], 9, 1, 2, 3)
			if test.err == nil && !strings.Contains(s.log.String(), "serve_test.go") {
				t.Errorf("the stack is not in the log:\n%s", s.log)
			}
		})
	}
}

// wait is a call that ends with its context.
func wait(begun chan struct{}) func(context.Context, *wire.Call, *Answer) error {
	return func(ctx context.Context, c *wire.Call, _ *Answer) error {
		if len(c.Inputs[0].Data) == 4 {
			begun <- struct{}{}
			<-ctx.Done()
			return fmt.Errorf("terminated: %w", ctx.Err())
		}
		return nil
	}
}

func TestCallEndsAtItsTime(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := ready(t, &echo{call: wait(begun)}, 1)
	s.write(s.lanes[0], call(1, 5*time.Millisecond, 1))
	s.failed(s.lanes[0], 1, wire.Expired)
	s.answered(s.lanes[0], 2, 1, 2)
}

func TestCancelEndsItsCallAlone(t *testing.T) {
	begun := make(chan struct{}, 2)
	s := ready(t, &echo{call: wait(begun)}, 2)
	cancel := func(id uint64) {
		s.write(s.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypeCancel, ID: id}))
	}
	cancel(99)
	s.write(s.lanes[0], call(1, time.Minute, 1))
	s.write(s.lanes[1], call(2, time.Minute, 1))
	<-begun
	<-begun
	cancel(1)
	s.failed(s.lanes[0], 1, wire.Cancelled)
	s.answered(s.lanes[0], 3, 1, 2)
	cancel(1) // which has ended
	s.answered(s.lanes[0], 1, 1, 2)
	h, body := s.ask(wire.TypePing, 50, nil)
	var p wire.Pong
	if err := wire.ParseControl(h.Type, body, &p); err != nil || p.InFlight != 1 {
		t.Errorf("the other call was cancelled too: %s, %v", body, err)
	}
	cancel(2)
	s.failed(s.lanes[1], 2, wire.Cancelled)
}

func TestModelThatIsNotParallelComputesOneCallAfterAnother(t *testing.T) {
	begun, held := make(chan struct{}, 2), make(chan struct{})
	s := ready(t, &echo{serial: true, call: func(_ context.Context, c *wire.Call, _ *Answer) error {
		begun <- struct{}{}
		<-held
		return nil
	}}, 2)
	s.write(s.lanes[0], call(1, 0, 1))
	<-begun
	s.write(s.lanes[1], call(2, time.Millisecond, 1)) // waits for its turn beyond its time
	s.failed(s.lanes[1], 2, wire.Expired)
	s.write(s.lanes[1], call(3, 0, 1))
	select {
	case <-begun:
		t.Error("two calls at once")
	default:
	}
	close(held)
	s.read(s.lanes[0])
	s.read(s.lanes[1])
}

func TestDrainAnswersWhatIsInProgressAndExits(t *testing.T) {
	begun, held := make(chan struct{}, 1), make(chan struct{})
	e := &echo{call: func(context.Context, *wire.Call, *Answer) error { begun <- struct{}{}; <-held; return nil }}
	s := ready(t, e, 2)
	s.write(s.lanes[0], call(1, 0, 1))
	<-begun
	s.write(s.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypeDrain, ID: 3}))
	s.lanes[1].Close()
	close(held)
	if h, _ := s.read(s.lanes[0]); h.Type != wire.TypeAnswer {
		t.Error(h)
	}
	select {
	case <-s.exit:
		t.Error("ended before its lanes did")
	default:
	}
	s.lanes[0].Close()
	s.exits(drained)
	if e.closed != 3 {
		t.Errorf("%d of 2 lanes and a model were closed", e.closed)
	}
}

func TestEndOfControlEndsTheWorkerWhileItComputes(t *testing.T) {
	begun, held := make(chan struct{}, 1), make(chan struct{})
	defer close(held)
	s := ready(t, &echo{call: func(context.Context, *wire.Call, *Answer) error { begun <- struct{}{}; <-held; return nil }}, 1)
	s.write(s.lanes[0], call(1, 0, 1))
	<-begun
	s.control.Close()
	s.exits(abandoned)
}

func TestBreachesEndTheWorker(t *testing.T) {
	ping := wire.AppendHeader(nil, wire.Header{Type: wire.TypePing})
	for name, test := range map[string]struct {
		do   func(s *service)
		want string
	}{
		"garbage on a lane": {func(s *service) { s.write(s.lanes[0], []byte(strings.Repeat("garbage ", 9))) }, "header at byte 0"},
		"ping on a lane":    {func(s *service) { s.write(s.lanes[0], ping) }, "PING on a lane"},
		"call on control":   {func(s *service) { s.write(s.control, call(1, 0, 1)) }, "CALL with"},
		"second load":       {func(s *service) { s.load("bytes") }, "LOAD with"},
		"ping with a body": {func(s *service) {
			s.write(s.control, append(wire.AppendHeader(nil, wire.Header{Type: wire.TypePing, Length: 1}), 1))
		}, "PING with 1 bytes"},
		"call twice": {func(s *service) { s.write(s.lanes[0], append(call(1, 0, 1), call(2, 0, 1)...)) }, "follow the CALL"},
		"oversized": {func(s *service) {
			s.write(s.lanes[0], wire.AppendHeader(nil, wire.Header{Type: wire.TypeCall, Length: 9 << 20}))
		}, "at most 8388608 are allowed"},
		"truncated":            {func(s *service) { s.write(s.lanes[0], call(1, 0, 1)[:60]); s.lanes[0].Close() }, "ends within a CALL"},
		"truncated header":     {func(s *service) { s.write(s.lanes[0], call(1, 0, 1)[:9]); s.lanes[0].Close() }, "ends within a frame's header"},
		"wrong data":           {func(s *service) { b := call(1, 0, 1); b[64] = byte(wire.FP64); s.write(s.lanes[0], b) }, "needs 8 bytes of data"},
		"truncated on control": {func(s *service) { s.write(s.control, ping[:7]); s.control.Close() }, "unexpected EOF"},
		"control that is no JSON": {func(s *service) {
			s.write(s.control, ping[:4])
			s.write(s.control, []byte("\xff\xff\xff\xff"))
			s.write(s.control, make([]byte, 16))
		}, "type 255"},
	} {
		t.Run(name, func(t *testing.T) {
			s := ready(t, &echo{}, 1)
			if name == "second load" {
				frame, _ := wire.AppendControl(nil, wire.TypeLoad, 6, wire.Load{})
				s.write(s.control, frame)
			} else {
				test.do(s)
			}
			s.exits(broken)
			if !strings.Contains(s.log.String(), test.want) {
				t.Errorf("%q is not in the log:\n%s", test.want, s.log)
			}
		})
	}
	for _, first := range []wire.Type{wire.TypePing, wire.TypeLoad} {
		s := serve(t, &echo{}, 1)
		frame, _ := wire.AppendControl(nil, first, 6, wire.Load{})
		s.write(s.control, frame)
		s.exits(broken)
	}
}

// TestFrameInPiecesIsRead: whatever the sizes in which it comes.
func TestFrameInPiecesIsRead(t *testing.T) {
	s := ready(t, &echo{}, 1)
	for _, n := range []int{1, 2000} {
		frame := call(1, 0, make([]float32, n)...)
		for _, cut := range []int{1, 23, 24, 25, 100, len(frame) - 1} {
			s.write(s.lanes[0], frame[:cut])
			time.Sleep(time.Millisecond) // the worker reads the first piece, mostly
			s.write(s.lanes[0], frame[cut:])
			if h, _ := s.read(s.lanes[0]); h.Type != wire.TypeAnswer {
				t.Fatal(h)
			}
		}
	}
}

func TestLargeBuffersAreGivenBack(t *testing.T) {
	e := &echo{}
	s := ready(t, e, 1)
	s.answered(s.lanes[0], 1, make([]float32, 1<<20)...)
	for i := range patience + 2 {
		s.answered(s.lanes[0], uint64(i), 1)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sizes) != 3 || e.sizes[0] != firstBytes || e.sizes[1] < 4<<20 || e.sizes[2] != firstBytes {
		t.Errorf("buffers of %d", e.sizes)
	}
}

func TestMemoryOfALargeAnswerIsGivenBack(t *testing.T) {
	var a Answer
	for i, n := range append([]int{4 << 20}, make([]int, patience+1)...) {
		a.reset(8 << 20)
		if large := cap(a.frame) > largeBytes; large != (i > 0 && i <= patience) {
			t.Errorf("answer %d: %d bytes", i, cap(a.frame))
		}
		if _, err := a.Space("y", wire.UINT8, []int64{int64(n)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCallThatThereIsNoMemoryForIsAFailure(t *testing.T) {
	for _, most := range []int{1, 1 << 20} { // not even for a header
		s := ready(t, &echo{most: most}, 1)
		s.write(s.lanes[0], call(1, 0, make([]float32, 1<<20)...))
		s.failed(s.lanes[0], 1, wire.Exhausted)
		s.answered(s.lanes[0], 2, 1)
	}
}

func TestAnswersThatCannotBeAreTheEnginesFault(t *testing.T) {
	for name, test := range map[string]struct {
		add  func(a *Answer) error
		code wire.Code
		want string
	}{
		"too little data": {func(a *Answer) error { return a.Add("y", wire.FP32, []int64{3}, nil) }, wire.Failed, "needs 12 bytes"},
		"twice": {func(a *Answer) error {
			return errors.Join(a.Add("y", wire.BOOL, nil, []byte{1}), a.Add("y", wire.BOOL, nil, []byte{1}))
		}, wire.Failed, "there twice"},
		"no name":         {func(a *Answer) error { _, err := a.Space("", wire.FP32, []int64{3}); return err }, wire.Failed, "a name has 1 to 256"},
		"negative":        {func(a *Answer) error { _, err := a.Space("y", wire.FP32, []int64{-3}); return err }, wire.Failed, "does not fit"},
		"bytes":           {func(a *Answer) error { _, err := a.Space("y", wire.BYTES, []int64{3}); return err }, wire.Failed, "does not fit"},
		"too large":       {func(a *Answer) error { return a.Add("y", wire.UINT8, []int64{8 << 20}, make([]byte, 8<<20)) }, wire.Exhausted, "does not fit"},
		"too large space": {func(a *Answer) error { _, err := a.Space("y", wire.UINT8, []int64{1 << 40}); return err }, wire.Failed, "does not fit"},
	} {
		s := ready(t, &echo{call: func(_ context.Context, c *wire.Call, a *Answer) error {
			if len(c.Inputs[0].Data) == 0 {
				return test.add(a)
			}
			return nil
		}}, 1)
		s.write(s.lanes[0], call(1, 0))
		if message := s.failed(s.lanes[0], 1, test.code); !strings.Contains(message, test.want) {
			t.Errorf("%s: %s", name, message)
		}
		s.answered(s.lanes[0], 2, 4)
	}
}

func TestAnswerInTheEnginesMemory(t *testing.T) {
	for _, room := range []int{0, 100, 1 << 16} {
		memory := make([]byte, room)
		s := ready(t, &echo{call: func(_ context.Context, c *wire.Call, a *Answer) error {
			if c.Timeout > time.Minute { // the next answer is not in memory that was lent for one
				return nil
			}
			a.Into(memory)
			space, err := a.Space("y", wire.FP32, c.Inputs[0].Shape)
			copy(space, c.Inputs[0].Data)
			return err
		}}, 1)
		s.answered(s.lanes[0], 1, make([]float32, 1000)...)
		if used := slices.ContainsFunc(memory, func(b byte) bool { return b != 0 }); used != (room > answerHead) && room != 100 {
			t.Errorf("%d bytes: used %v", room, used)
		}
		clear(memory)
		s.write(s.lanes[0], call(2, time.Hour, 1, 2, 3))
		if h, _ := s.read(s.lanes[0]); h.Type != wire.TypeAnswer || slices.ContainsFunc(memory, func(b byte) bool { return b != 0 }) {
			t.Errorf("%d bytes: %v, in memory that was lent for the call before", room, h)
		}
	}
}

func TestServeWithoutSocketsSaysThatItIsAWorker(t *testing.T) {
	s := &lines{}
	t.Setenv(lanesVariable, "")
	if code := Serve(&echo{}, Options{Log: logTo(s)}); code != broken || !strings.Contains(s.String(), "this program is a worker") {
		t.Errorf("%d, %s", code, s)
	}
	if code := Serve(&echo{}, Options{Log: logTo(io.Discard), Control: 999}); code != broken {
		t.Error(code)
	}
}
