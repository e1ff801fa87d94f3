//go:build unix

package workercheck

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// checks are all, in the order in which somebody who writes a worker comes to them.
func checks() []check {
	list := []check{
		{"hello/own-version", "both sides agree on a version before anything else", func(s *suite) error {
			_, err := s.greeted()
			return err
		}},
		{"hello/newer-service", "a service that speaks more versions gets the highest that both speak", func(s *suite) error {
			p, err := s.start(1)
			if err != nil {
				return err
			}
			var w wire.Welcome
			if err := p.expect(wire.TypeHello, hello(wire.Version+98, wire.Version), patience, wire.TypeHello, &w); err != nil {
				return err
			}
			if w.Version != wire.Version {
				return fmt.Errorf("it chose version %d", w.Version)
			}
			return nil
		}},
		{"hello/later-members", "members that it does not know are ignored: so versions grow", func(s *suite) error {
			p, err := s.start(1)
			if err != nil {
				return err
			}
			return p.expect(wire.TypeHello, struct {
				wire.Hello
				Later map[string]any `json:"later"`
			}{hello(wire.Version), map[string]any{"a": []int{1}}}, patience, wire.TypeHello, new(wire.Welcome))
		}},
		{"hello/no-common-version", "a worker that speaks none of the versions says which it speaks, and ends with 1", func(s *suite) error {
			p, err := s.start(1)
			if err != nil {
				return err
			}
			f, err := p.refuses(wire.TypeHello, hello(98, 99), patience, wire.Unsupported)
			if err == nil && !strings.Contains(f.Message, fmt.Sprint(wire.Version)) {
				err = fmt.Errorf("FAILURE %q does not name the versions that it speaks", f.Message)
			}
			return err
		}},
		{"load/metadata", "LOADED names the tensors as the protocol can describe them, and the cases fit them", metadata},
		{"load/truncated", "a model of which the end is missing is refused, not believed", refusedLoad(func(s *suite, l *wire.Load) {
			s.model.Data = s.model.Data[:len(s.model.Data)/2]
			l.Bytes = int64(len(s.model.Data))
		}, nil)},
		{"load/fewer-bytes", "a model of which the end is missing is refused, also where LOAD promises it", refusedLoad(func(s *suite, _ *wire.Load) { s.model.Data = s.model.Data[:len(s.model.Data)/2] }, nil)},
		{"load/garbage", "bytes that are no model are refused", refusedLoad(func(s *suite, _ *wire.Load) {
			s.model.Data = []byte(strings.Repeat("no model ", len(s.model.Data)/9+1)[:len(s.model.Data)])
		}, nil)},
		{"load/unknown-option", "an option that it does not know is refused by name: it may have mattered", refusedLoad(func(_ *suite, l *wire.Load) {
			options := map[string]string{"no-such-option": "on"}
			for k, v := range l.Options {
				options[k] = v
			}
			l.Options = options
		}, func(f *wire.Failure) error {
			if !strings.Contains(f.Message, "no-such-option") {
				return fmt.Errorf("FAILURE %q does not name the option", f.Message)
			}
			return nil
		})},
		{"load/unknown-format", "a format that it cannot read is refused", refusedLoad(func(_ *suite, l *wire.Load) { l.Format = "no-such-format" }, nil)},
		{"calls/right", "each case has the right answer", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			for i, one := range s.model.Cases.Cases {
				if err := s.right(p, p.lanes[0], one); err != nil {
					return fmt.Errorf("case %d: %w", i, err)
				}
			}
			return errors.Join(p.silent(p.lanes[0], "a lane"), p.silent(p.control, "the control socket"))
		})},
	}
	for _, n := range []int{1, 7, 64} {
		list = append(list, check{fmt.Sprintf("calls/batch-of-%d", n), "rows that travel together are answered like rows alone", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			joined, ok := s.model.rows(n)
			if !ok {
				return skip("the cases have no rows that can be put together")
			}
			return s.right(p, p.lanes[0], joined)
		})})
	}
	list = append(list, []check{
		{"calls/no-rows", "a batch of no rows is answered with none, or is invalid; it harms nothing", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			none, ok := s.model.rows(0)
			if !ok {
				return skip("the cases have no rows")
			}
			a, f, err := p.call(p.lanes[0], &wire.Call{Inputs: none.Inputs})
			switch {
			case err != nil:
				return err
			case f != nil && f.Code != wire.Invalid:
				return fmt.Errorf("FAILURE has the code %d (%q), not %d", uint16(f.Code), f.Message, uint16(wire.Invalid))
			case a != nil:
				if err := s.matches(none, a); err != nil {
					return err
				}
			}
			return s.right(p, p.lanes[0], s.model.Cases.Cases[0])
		})},
		{"calls/in-pieces", "a frame may come in pieces, however they are cut", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			one := s.model.Cases.Cases[0]
			for _, cut := range []int{1, wire.HeaderBytes - 1, wire.HeaderBytes, wire.HeaderBytes + wire.CallBytes + 3} {
				c := wire.Call{Inputs: one.Inputs}
				id := p.id()
				frame := c.Append(nil, id)
				if err := p.write(p.lanes[0], frame[:cut]); err != nil {
					return err
				}
				time.Sleep(20 * time.Millisecond) // so that it reads a piece
				if err := p.write(p.lanes[0], frame[cut:]); err != nil {
					return err
				}
				a, f, err := p.answer(p.lanes[0], id)
				if err != nil || f != nil {
					return fmt.Errorf("cut at byte %d: %w", cut, errors.Join(err, failed(f)))
				}
				if err := s.matches(one, a); err != nil {
					return err
				}
			}
			return nil
		})},
		{"calls/all-lanes", "lanes are asked at the same time, and answers do not mix", with(4, func(s *suite, p *process, _ wire.Loaded) error {
			return s.everywhere(p, func(lane *end, q *process, k int) error {
				for i := range 50 {
					if err := s.right(q, lane, s.model.Cases.Cases[(i*4+k)%len(s.model.Cases.Cases)]); err != nil {
						return fmt.Errorf("lane %d, call %d: %w", k, i, err)
					}
				}
				return nil
			})
		})},
		{"invalid/name", "a tensor that the model does not have is the caller's fault; the lane lives on", invalid(func(in []wire.Tensor) []wire.Tensor {
			in[0].Name = []byte("no-such-tensor")
			return in
		})},
		{"invalid/missing", "so is one that is missing", invalid(func(in []wire.Tensor) []wire.Tensor { return in[1:] })},
		{"invalid/too-many", "so is one too many", invalid(func(in []wire.Tensor) []wire.Tensor {
			more := in[0]
			more.Name = []byte("one-too-many")
			return append(in, more)
		})},
		{"invalid/shape", "so is a wrong shape", invalid(func(in []wire.Tensor) []wire.Tensor {
			t := &in[0]
			if n := len(t.Shape); n > 0 && n < wire.MaxRank {
				t.Shape = append([]int64{1, 1}, t.Shape...)[:min(n+2, wire.MaxRank)]
			} else {
				t.Shape, t.Data = []int64{1, 3, 1}, append(append(append([]byte(nil), t.Data...), t.Data...), t.Data...)
			}
			return in
		})},
		{"invalid/width", "so is a row that is too long", invalid(func(in []wire.Tensor) []wire.Tensor {
			t := &in[0]
			n := len(t.Shape)
			if n < 2 || t.Datatype == wire.BYTES || t.Shape[0] < 1 {
				return nil
			}
			t.Shape = append(append([]int64(nil), t.Shape[:n-1]...), t.Shape[n-1]+1)
			rows, _ := wire.Elements(t.Shape[:n-1])
			t.Data = append(append([]byte(nil), t.Data...), make([]byte, int(rows)*t.Datatype.Size())...)
			return in
		})},
		{"invalid/datatype", "so is a wrong datatype, even of the same size", invalid(func(in []wire.Tensor) []wire.Tensor {
			same := map[wire.Datatype]wire.Datatype{wire.FP32: wire.INT32, wire.FP64: wire.INT64, wire.INT64: wire.FP64, wire.INT32: wire.FP32, wire.UINT8: wire.INT8, wire.INT8: wire.UINT8, wire.FP16: wire.INT16}
			other, ok := same[in[0].Datatype]
			if !ok {
				return nil
			}
			in[0].Datatype = other
			return in
		})},
		{"deadline/short", "a call whose time is up as it comes is answered, as expired or with the answer", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			a, f, err := p.call(p.lanes[0], &wire.Call{Timeout: time.Microsecond, Inputs: s.model.Cases.Cases[0].Inputs})
			if err != nil {
				return err
			}
			if f != nil && f.Code != wire.Expired {
				return fmt.Errorf("FAILURE has the code %d (%q), not %d", uint16(f.Code), f.Message, uint16(wire.Expired))
			}
			if a != nil {
				if err := s.matches(s.model.Cases.Cases[0], a); err != nil {
					return err
				}
			}
			return s.right(p, p.lanes[0], s.model.Cases.Cases[0])
		})},
		{"ping/idle", "PONG tells how the worker is", with(2, func(_ *suite, p *process, _ wire.Loaded) error {
			pong, err := p.ping(patience)
			if err == nil && (pong.InFlight != 0 || pong.RSSBytes < 0 || pong.NativeBytes < 0 || pong.DeviceBytes < 0) {
				err = fmt.Errorf("PONG of an idle worker: %+v", pong)
			}
			return err
		})},
		{"ping/while-computing", "a worker that computes is alive, and says so within a second", with(2, func(s *suite, p *process, _ wire.Loaded) error {
			return s.busy(p, func() error {
				for range 10 {
					if _, err := p.ping(time.Second); err != nil {
						return err
					}
				}
				return nil
			})
		})},
		{"cancel/unknown", "a CANCEL that comes too late is nobody's fault", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			if err := s.right(p, p.lanes[0], s.model.Cases.Cases[0]); err != nil {
				return err
			}
			for _, id := range []uint64{p.lastID.Load(), 1 << 60} {
				if err := p.write(p.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypeCancel, ID: id})); err != nil {
					return err
				}
			}
			if err := p.silent(p.control, "the control socket"); err != nil {
				return err
			}
			return s.right(p, p.lanes[0], s.model.Cases.Cases[0])
		})},
		{"cancel/in-progress", "a cancelled call is answered, once: as cancelled, or with its answer", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			id, err := p.send(p.lanes[0], &wire.Call{Timeout: time.Minute, Inputs: s.slow()})
			if err != nil {
				return err
			}
			if err := p.write(p.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypeCancel, ID: id})); err != nil {
				return err
			}
			_, f, err := p.answer(p.lanes[0], id)
			if err != nil {
				return err
			}
			if f != nil && f.Code != wire.Cancelled {
				return fmt.Errorf("FAILURE has the code %d (%q), not %d", uint16(f.Code), f.Message, uint16(wire.Cancelled))
			}
			if err := p.silent(p.lanes[0], "a lane"); err != nil {
				return err
			}
			return s.right(p, p.lanes[0], s.model.Cases.Cases[0])
		})},
		{"drain/idle", "a worker without work ends with 0 when its lanes have ended", with(2, func(_ *suite, p *process, _ wire.Loaded) error {
			if err := p.drain(); err != nil {
				return err
			}
			for _, l := range p.lanes {
				l.file.Close()
			}
			return errors.Join(p.exits(patience, 0), p.leavesNothing())
		})},
		{"drain/in-progress", "a worker answers what it has begun, and then ends", with(2, func(s *suite, p *process, _ wire.Loaded) error {
			id, err := p.send(p.lanes[0], &wire.Call{Inputs: s.slow()})
			if err != nil {
				return err
			}
			if err := p.drain(); err != nil {
				return err
			}
			p.lanes[1].file.Close()
			if _, f, err := p.answer(p.lanes[0], id); err != nil || f != nil {
				return fmt.Errorf("the call in progress: %w", errors.Join(err, failed(f)))
			}
			p.lanes[0].file.Close()
			return errors.Join(p.exits(patience, 0), p.leavesNothing())
		})},
		{"end/control-idle", "a worker never outlives its service", with(1, func(_ *suite, p *process, _ wire.Loaded) error {
			p.control.file.Close()
			return errors.Join(p.exits(time.Second), p.leavesNothing())
		})},
		{"end/control-while-computing", "not even in the middle of a call: gone within a second", with(2, func(s *suite, p *process, _ wire.Loaded) error {
			for _, lane := range p.lanes {
				if _, err := p.send(lane, &wire.Call{Inputs: s.slow()}); err != nil {
					return err
				}
			}
			p.control.file.Close()
			return errors.Join(p.exits(time.Second), p.leavesNothing())
		})},
		{"end/signals", "SIGTERM and SIGINT go to the whole terminal; the service ends its workers itself", with(1, func(s *suite, p *process, _ wire.Loaded) error {
			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				if err := syscall.Kill(p.pid, signal); err != nil {
					return err
				}
				time.Sleep(50 * time.Millisecond) // in which it would end
				if err := s.right(p, p.lanes[0], s.model.Cases.Cases[0]); err != nil {
					return fmt.Errorf("after %v: %w", signal, err)
				}
			}
			return nil
		})},
	}...)
	list = append(list, malformed()...)
	return append(list, check{"growth/thousand-calls", "a thousand calls leave neither descriptors nor threads behind", with(2, growth)})
}

// with tries a rule on a worker that has the model.
func with(lanes int, try func(s *suite, p *process, l wire.Loaded) error) func(*suite) error {
	return func(s *suite) error {
		p, loaded, err := s.ready(lanes)
		if err != nil {
			return err
		}
		return try(s, p, loaded)
	}
}

// refusedLoad tries a LOAD that edit has spoilt.
func refusedLoad(edit func(*suite, *wire.Load), also func(*wire.Failure) error) func(*suite) error {
	return func(s *suite) error {
		spoilt := *s
		var load wire.Load
		load.Bytes = int64(len(s.model.Data))
		load.Format, load.Options = s.model.Format, s.model.Options
		edit(&spoilt, &load)
		p, err := spoilt.greeted()
		s.processes = spoilt.processes
		if err != nil {
			return err
		}
		full := s.load(p)
		full.Bytes, full.Format, full.Options = load.Bytes, load.Format, load.Options
		f, err := p.refuses(wire.TypeLoad, full, s.command.LoadWithin, wire.Refused)
		if err == nil && also != nil {
			err = also(f)
		}
		return err
	}
}

func metadata(s *suite) error {
	_, loaded, err := s.ready(1)
	if err != nil {
		return err
	}
	fits := func(side string, specs []wire.Spec, tensors []wire.Tensor) error {
		for _, t := range tensors {
			found := false
			for _, spec := range specs {
				if spec.Name != string(t.Name) {
					continue
				}
				found = true
				ok := spec.Datatype == t.Datatype && len(spec.Shape) == len(t.Shape)
				for i := 0; ok && i < len(t.Shape); i++ {
					ok = spec.Shape[i] == -1 || spec.Shape[i] == t.Shape[i]
				}
				if !ok {
					return fmt.Errorf("LOADED: %s %q is %v %d; the case has %v %d", side, spec.Name, spec.Datatype, spec.Shape, t.Datatype, t.Shape)
				}
			}
			if !found {
				return fmt.Errorf("LOADED has no %s %q, which the cases have", side, t.Name)
			}
		}
		return nil
	}
	one := s.model.Cases.Cases[0]
	return errors.Join(fits("input", loaded.Inputs, one.Inputs), fits("output", loaded.Outputs, one.Outputs))
}

// invalid tries a call that edit has spoilt. edit gets a copy, and returns nil where it does not apply.
func invalid(edit func([]wire.Tensor) []wire.Tensor) func(*suite) error {
	return with(1, func(s *suite, p *process, _ wire.Loaded) error {
		spoilt := edit(append([]wire.Tensor(nil), s.model.Cases.Cases[0].Inputs...))
		if spoilt == nil {
			return skip("does not apply to the inputs of this model")
		}
		a, f, err := p.call(p.lanes[0], &wire.Call{Inputs: spoilt})
		switch {
		case err != nil:
			return err
		case a != nil:
			return errors.New("it was answered as if it were right")
		case f.Code != wire.Invalid:
			return fmt.Errorf("FAILURE has the code %d (%q), not %d", uint16(f.Code), f.Message, uint16(wire.Invalid))
		}
		return s.right(p, p.lanes[0], s.model.Cases.Cases[0])
	})
}

func failed(f *wire.Failure) error {
	if f == nil {
		return nil
	}
	return f
}

// slow are the inputs of a call that takes long: the given one, or a large batch.
func (s *suite) slow() []wire.Tensor {
	if len(s.model.Slow) > 0 {
		return s.model.Slow
	}
	if joined, ok := s.model.rows(64); ok {
		return joined.Inputs
	}
	return s.model.Cases.Cases[0].Inputs
}

// everywhere does work on all lanes at once, each with a count of ids of its own.
func (s *suite) everywhere(p *process, work func(lane *end, q *process, k int) error) error {
	errs := make([]error, len(p.lanes))
	var all sync.WaitGroup
	for k, lane := range p.lanes {
		q := &process{ctx: p.ctx}
		q.lastID.Store(p.lastID.Load() + uint64(k+1)<<32)
		all.Go(func() { errs[k] = work(lane, q, k) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// busy does something while all lanes compute.
func (s *suite) busy(p *process, meanwhile func() error) error {
	ended := make(chan struct{})
	var calls error
	var all sync.WaitGroup
	all.Go(func() {
		calls = s.everywhere(p, func(lane *end, q *process, _ int) error {
			for {
				select {
				case <-ended:
					return nil
				default:
				}
				if _, f, err := q.call(lane, &wire.Call{Timeout: time.Minute, Inputs: s.slow()}); err != nil || f != nil {
					return errors.Join(err, failed(f))
				}
			}
		})
	})
	err := meanwhile()
	close(ended)
	all.Wait()
	return errors.Join(err, calls)
}

func (p *process) ping(limit time.Duration) (wire.Pong, error) {
	id := p.id()
	var pong wire.Pong
	if err := p.write(p.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypePing, ID: id})); err != nil {
		return pong, err
	}
	t, body, err := p.read(p.control, id, limit)
	if err != nil {
		return pong, fmt.Errorf("PING: %w", err)
	}
	if t != wire.TypePong {
		return pong, fmt.Errorf("PING was answered with %v", t)
	}
	return pong, wire.ParseControl(t, body, &pong)
}

func (p *process) drain() error {
	return p.write(p.control, wire.AppendHeader(nil, wire.Header{Type: wire.TypeDrain, ID: p.id()}))
}

// growth counts descriptors and threads of the process before and after.
func growth(s *suite, p *process, _ wire.Loaded) error {
	if runtime.GOOS != "linux" {
		return skip("needs Linux's /proc")
	}
	count := func(what string) int {
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/%s", p.pid, what))
		return len(entries)
	}
	calls := func(n int) error {
		return s.everywhere(p, func(lane *end, q *process, _ int) error {
			for i := range n / len(p.lanes) {
				inputs := s.model.Cases.Cases[i%len(s.model.Cases.Cases)].Inputs
				if i%10 == 9 { // failures too
					inputs = nil
				}
				if _, _, err := q.call(lane, &wire.Call{Timeout: time.Minute, Inputs: inputs}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := calls(200); err != nil {
		return err
	}
	descriptors, threads := count("fd"), count("task")
	if err := calls(1000); err != nil {
		return err
	}
	// A pool of threads may still grow by a few.
	if d, t := count("fd"), count("task"); d > descriptors || t > threads+4 {
		return fmt.Errorf("%d descriptors and %d threads became %d and %d", descriptors, threads, d, t)
	}
	return nil
}
