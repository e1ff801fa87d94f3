package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var allStates = []State{Initializing, Ready, Degraded, Recovering, Draining, Stopped, Failed}

// table is the one of DESIGN.md, written out a second time on purpose.
var table = map[State][]State{
	Initializing: {Ready, Degraded, Failed, Draining},
	Ready:        {Degraded, Draining, Failed},
	Degraded:     {Recovering, Draining, Failed},
	Recovering:   {Ready, Degraded, Draining, Failed},
	Draining:     {Stopped},
	Stopped:      {},
	Failed:       {Initializing, Draining},
}

// pathTo leads from Initializing to each state.
var pathTo = map[State][]State{
	Initializing: {},
	Ready:        {Ready},
	Degraded:     {Degraded},
	Recovering:   {Degraded, Recovering},
	Draining:     {Draining},
	Stopped:      {Draining, Stopped},
	Failed:       {Failed},
}

func machineIn(t *testing.T, s State, opts ...Option) *Machine {
	t.Helper()
	m := NewMachine("model", opts...)
	for _, to := range pathTo[s] {
		if err := m.To(to, nil); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestEveryTransitionFollowsTheTable(t *testing.T) {
	for _, from := range allStates {
		for _, to := range allStates {
			t.Run(fmt.Sprintf("%v-%v", from, to), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					seen := &recorder{}
					m := machineIn(t, from, WithObserver(seen))
					before, told := m.Status(), len(seen.transitions)
					time.Sleep(time.Second)
					cause := errors.New("why")
					err := m.To(to, cause)
					if slices.Contains(table[from], to) {
						want := Status{Name: "model", State: to, Cause: cause, Since: time.Now()}
						if err != nil || m.Status() != want || m.State() != to {
							t.Fatalf("To = %v, status %+v, want %+v", err, m.Status(), want)
						}
						if len(seen.transitions) != told+1 || seen.transitions[told] != fmt.Sprintf("model %v %v why", from, to) {
							t.Fatalf("observer saw %q", seen.transitions[told:])
						}
						return
					}
					refused, ok := errors.AsType[*TransitionError](err)
					if !ok || *refused != (TransitionError{"model", from, to}) || !errors.Is(err, ErrIllegalTransition) {
						t.Fatalf("To = %v, want a TransitionError", err)
					}
					if m.Status() != before || len(seen.transitions) != told {
						t.Fatalf("a refused transition changed %+v to %+v, told %q", before, m.Status(), seen.transitions[told:])
					}
				})
			})
		}
	}
}

func TestStateOutsideTheTableIsRefused(t *testing.T) {
	if err := NewMachine("m").To(State(200), nil); !errors.Is(err, ErrIllegalTransition) {
		t.Fatal(err)
	}
	if got := State(200).String(); got != "State(200)" {
		t.Fatal(got)
	}
	if _, err := State(200).MarshalText(); err == nil {
		t.Fatal("marshalled a state that does not exist")
	}
}

func TestStatesByName(t *testing.T) {
	got, err := json.Marshal(allStates)
	if want := `["Initializing","Ready","Degraded","Recovering","Draining","Stopped","Failed"]`; err != nil || string(got) != want {
		t.Fatalf("%s, %v", got, err)
	}
	for _, s := range allStates {
		if want := strings.Contains("Ready Degraded Recovering", s.String()); s.Serving() != want {
			t.Errorf("%v.Serving() = %v", s, s.Serving())
		}
	}
}

type recorder struct {
	mu          sync.Mutex
	transitions []string
}

func (r *recorder) Transition(name string, from, to State, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transitions = append(r.transitions, fmt.Sprintf("%s %v %v %v", name, from, to, cause))
}

type observerFunc func(from, to State)

func (f observerFunc) Transition(_ string, from, to State, _ error) { f(from, to) }

func TestObserverThatCallsBackIsToldInOrder(t *testing.T) {
	var m *Machine
	seen := &recorder{}
	callsBack := observerFunc(func(_, to State) {
		if to == Degraded {
			if err := m.To(Recovering, nil); err != nil {
				t.Error(err)
			}
		}
	})
	// seen comes second: it must still hear of Degraded before Recovering.
	m = NewMachine("m", WithObserver(callsBack), WithObserver(seen))
	if err := m.To(Degraded, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"m Initializing Degraded <nil>", "m Degraded Recovering <nil>"}
	if !slices.Equal(seen.transitions, want) {
		t.Fatalf("saw %q, want %q", seen.transitions, want)
	}
}

func TestObserversSeeAConnectedChainUnderConcurrency(t *testing.T) {
	at := Initializing
	count := 0
	connected := observerFunc(func(from, to State) { // needs no lock: calls come one at a time
		if from != at {
			t.Errorf("told of %v to %v while at %v", from, to, at)
		}
		at = to
		count++
	})
	m := NewMachine("m", WithObserver(connected))
	var made sync.Map
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			n := 0
			for k := range 2000 {
				if m.To([]State{Ready, Degraded, Recovering}[(i+k)%3], nil) == nil {
					n++
				}
			}
			made.Store(i, n)
		})
	}
	all.Wait()
	total := 0
	made.Range(func(_, n any) bool { total += n.(int); return true })
	if count != total || at != m.State() {
		t.Fatalf("told of %d transitions of %d, last %v of %v", count, total, at, m.State())
	}
}

func TestPanicOfAnObserverDoesNotSilenceTheMachine(t *testing.T) {
	var seen []State
	m := NewMachine("m", WithObserver(observerFunc(func(_, to State) {
		seen = append(seen, to)
		if to == Ready {
			panic("observer")
		}
	})))
	func() {
		defer func() { _ = recover() }()
		_ = m.To(Ready, nil)
	}()
	if err := m.To(Degraded, nil); err != nil || !slices.Equal(seen, []State{Ready, Degraded}) {
		t.Fatalf("%v, told of %v", err, seen)
	}
}

func TestWaitSeesAStateThatWasLeftAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMachine("m")
		got := make(chan State)
		go func() {
			s, err := m.Wait(t.Context(), func(s State) bool { return s == Ready })
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		synctest.Wait()
		_ = m.To(Ready, nil)
		_ = m.To(Degraded, nil)
		if s := <-got; s != Ready {
			t.Fatal(s)
		}
	})
}

func TestWaitEndsWithItsContextAndWithTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMachine("m")
		ready := func(s State) bool { return s == Ready }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if s, err := m.Wait(ctx, ready); s != Initializing || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(s, err)
		}
		time.AfterFunc(time.Second, func() { _ = m.To(Draining, nil); _ = m.To(Stopped, nil) })
		if s, err := m.Wait(t.Context(), ready); s != Stopped || !errors.Is(err, ErrStopped) {
			t.Fatal(s, err)
		}
	})
}

func TestInjectedClockDatesTheStatus(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := NewMachine("m", WithNow(func() time.Time { return at })).Status().Since; got != at {
		t.Fatal(got)
	}
}

func BenchmarkState(b *testing.B) {
	m := NewMachine("m")
	b.ReportAllocs()
	for b.Loop() {
		_ = m.State()
	}
}
