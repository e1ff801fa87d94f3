//go:build unix

package workercheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// skip ends a check that does not apply.
type skip string

func (s skip) Error() string { return string(s) }

// check is one rule, tried on workers of its own.
type check struct {
	name, why string
	try       func(s *suite) error
}

// suite is what the checks have in common.
type suite struct {
	ctx       context.Context
	command   Command
	model     Model
	processes []*process // of the check that runs
}

// Run tries each rule on workers that it starts, one check after another, and returns all results; report, if it is set,
// is called with each as it comes. The error says why the suite could not be run: a model without cases, a program that
// cannot be started, ctx that ended. What a worker does wrong is a result.
func Run(ctx context.Context, c Command, m Model, report func(Result)) ([]Result, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Tolerance == 0 {
		m.Tolerance = 1e-5
	}
	if m.Name == "" {
		m.Name = "checked"
	}
	if m.Version == "" {
		m.Version = "1"
	}
	m.Threads = max(m.Threads, 1)
	if c.LoadWithin == 0 {
		c.LoadWithin = time.Minute
	}
	s := &suite{ctx: ctx, command: c, model: m}
	if _, err := s.start(1); err != nil { // a program that is none is no verdict
		return nil, err
	}
	s.stop()
	var results []Result
	for _, one := range checks() {
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		r := s.run(one)
		results = append(results, r)
		if report != nil {
			report(r)
		}
	}
	return results, nil
}

func (s *suite) run(one check) Result {
	r := Result{Name: one.name, Why: one.why, Verdict: Pass}
	began := time.Now()
	err := one.try(s)
	var not skip
	switch {
	case errors.As(err, &not):
		r.Verdict, r.Detail = Skipped, string(not)
	case err != nil:
		r.Verdict, r.Detail = Fail, err.Error()
		if n := len(s.processes); n > 0 {
			r.Detail += s.processes[n-1].said()
		}
	}
	s.stop()
	r.Took = time.Since(began)
	return r
}

func (s *suite) start(lanes int) (*process, error) {
	p, err := start(s.ctx, s.command, s.model.Data, lanes)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

// stop ends the processes of a check.
func (s *suite) stop() {
	for _, p := range s.processes {
		p.stop()
	}
	s.processes = nil
}

func (p *process) ask(t wire.Type, message any, limit time.Duration) (wire.Type, []byte, error) {
	id := p.id()
	frame, err := wire.AppendControl(nil, t, id, message)
	if err != nil {
		return 0, nil, err
	}
	if err := p.write(p.control, frame); err != nil {
		return 0, nil, fmt.Errorf("%v: %w", t, err)
	}
	got, body, err := p.read(p.control, id, limit)
	if err != nil {
		return 0, nil, fmt.Errorf("%v: %w", t, err)
	}
	return got, body, nil
}

// expect asks for one type of answer.
func (p *process) expect(t wire.Type, message any, limit time.Duration, want wire.Type, answer any) error {
	got, body, err := p.ask(t, message, limit)
	if err != nil {
		return err
	}
	if got == wire.TypeFailure {
		return fmt.Errorf("%v: %w", t, failureIn(body))
	}
	if got != want {
		return fmt.Errorf("%v was answered with %v", t, got)
	}
	return wire.ParseControl(got, body, answer)
}

func failureIn(body []byte) error {
	f := new(wire.Failure)
	if err := f.Parse(body); err != nil {
		return err
	}
	return f
}

// refuses asks for a failure with this code, after which the worker ends with 1.
func (p *process) refuses(t wire.Type, message any, limit time.Duration, code wire.Code) (*wire.Failure, error) {
	got, body, err := p.ask(t, message, limit)
	if err != nil {
		return nil, err
	}
	if got != wire.TypeFailure {
		return nil, fmt.Errorf("%v was answered with %v; FAILURE %d was expected", t, got, uint16(code))
	}
	f := new(wire.Failure)
	if err := f.Parse(body); err != nil {
		return nil, err
	}
	if f.Code != code {
		return nil, fmt.Errorf("%v: FAILURE has the code %d (%q), not %d", t, uint16(f.Code), f.Message, uint16(code))
	}
	return f, p.exits(patience, 1)
}

func hello(versions ...int) wire.Hello {
	return wire.Hello{Versions: versions, MaxFrameBytes: maxFrame}
}

func (p *process) hello() error {
	h := hello(wire.Version)
	h.Lanes = len(p.lanes)
	var w wire.Welcome
	if err := p.expect(wire.TypeHello, h, patience, wire.TypeHello, &w); err != nil {
		return err
	}
	if w.Version != wire.Version || w.Name == "" {
		return fmt.Errorf("HELLO: version %d, name %q; version %d and a name were expected", w.Version, w.Name, wire.Version)
	}
	return nil
}

func (s *suite) load(p *process) wire.Load {
	return wire.Load{
		Model: s.model.Name, Version: s.model.Version, Format: s.model.Format, FD: p.modelFD, Bytes: int64(len(s.model.Data)),
		Threads: s.model.Threads, Options: s.model.Options,
	}
}

// ready is a worker with the model.
func (s *suite) ready(lanes int) (*process, wire.Loaded, error) {
	var loaded wire.Loaded
	p, err := s.start(lanes)
	if err != nil {
		return nil, loaded, err
	}
	if err := p.hello(); err != nil {
		return p, loaded, err
	}
	if err := p.expect(wire.TypeLoad, s.load(p), s.command.LoadWithin, wire.TypeLoaded, &loaded); err != nil {
		return p, loaded, err
	}
	return p, loaded, loaded.Check()
}

// greeted is a worker that waits for its LOAD.
func (s *suite) greeted() (*process, error) {
	p, err := s.start(1)
	if err != nil {
		return nil, err
	}
	return p, p.hello()
}

// send asks a lane, and returns the id.
func (p *process) send(lane *end, c *wire.Call) (uint64, error) {
	id := p.id()
	copy(c.Trace[:], "traced by checks")
	copy(c.Span[:], "a parent")
	c.Flags = 1
	return id, p.write(lane, c.Append(nil, id))
}

// call asks a lane and reads the answer: one of the two, or an error.
func (p *process) call(lane *end, c *wire.Call) (*wire.Answer, *wire.Failure, error) {
	id, err := p.send(lane, c)
	if err != nil {
		return nil, nil, err
	}
	return p.answer(lane, id)
}

func (p *process) answer(lane *end, id uint64) (*wire.Answer, *wire.Failure, error) {
	t, body, err := p.read(lane, id, patience)
	if err != nil {
		return nil, nil, err
	}
	switch t {
	case wire.TypeAnswer:
		a := new(wire.Answer)
		return a, nil, a.Parse(body)
	case wire.TypeFailure:
		f := new(wire.Failure)
		return nil, f, f.Parse(body)
	}
	return nil, nil, fmt.Errorf("%v on a lane", t)
}

// right asks for a case, whose answer must be right.
func (s *suite) right(p *process, lane *end, one Case) error {
	a, f, err := p.call(lane, &wire.Call{Timeout: time.Minute, Inputs: one.Inputs})
	if err != nil {
		return err
	}
	if f != nil {
		return fmt.Errorf("FAILURE instead of an answer: %w", f)
	}
	return s.matches(one, a)
}

func (s *suite) matches(one Case, a *wire.Answer) error {
	for _, want := range one.Outputs {
		found := false
		for _, got := range a.Outputs {
			if string(got.Name) == string(want.Name) {
				found = true
				if what := differs(want, got, s.model.Tolerance); what != "" {
					return errors.New(what)
				}
			}
		}
		if !found {
			return fmt.Errorf("the answer has no %q", want.Name)
		}
	}
	return nil
}
