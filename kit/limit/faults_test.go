package limit

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

func TestEachPointStrikes(t *testing.T) {
	faulttest.Trip(t, map[string]func(t *testing.T, set *fault.Set){
		"limit.admit": func(t *testing.T, set *fault.Set) {
			strikes(t, set, "limit.admit", func(l *Limit, ctx context.Context, r Request) (Permit, error) {
				if deadline, ok := ctx.Deadline(); ok {
					r.Deadline = deadline
				}
				return l.AdmitFor(r)
			})
		},
		"limit.acquire": func(t *testing.T, set *fault.Set) {
			strikes(t, set, "limit.acquire", func(l *Limit, ctx context.Context, r Request) (Permit, error) { return l.AcquireFor(ctx, r) })
			strikes(t, set, "limit.acquire", func(l *Limit, ctx context.Context, r Request) (Permit, error) {
				p, err := l.AdmitFor(r)
				if err != nil {
					return p, err
				}
				done := false
				defer func() {
					if !done {
						p.Done()
					}
				}()
				err = p.Start(ctx)
				done = err == nil
				return p, err
			})
		},
		"limit.accept": func(t *testing.T, set *fault.Set) {
			l, dial := faultyListener(t, set)
			faulttest.Put(t, set, fault.Rule{Point: "limit.accept", Count: 1, Error: &fault.Failure{Cause: "too_many_files"}})
			dial()
			if _, err := l.Accept(); !errors.Is(err, fault.ErrInjected) || !errors.Is(err, syscall.EMFILE) {
				t.Error(err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "limit.accept", ID: "p", Count: 1, Panic: &fault.Panicking{}})
			dial()
			dial()
			if c, err := l.Accept(); err != nil || l.Stats().Open != 1 || c.Close() != nil || l.Stats().Open != 0 {
				t.Error(err, l.Stats())
			}
		},
		"limit.read": func(t *testing.T, set *fault.Set) {
			l, dial := faultyListener(t, set)
			peer := dial()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(peer, "hello")
			faulttest.Put(t, set, fault.Rule{Point: "limit.read", Count: 1, Panic: &fault.Panicking{}})
			if _, err := c.Read(make([]byte, 5)); !errors.Is(err, fault.ErrInjected) {
				t.Error("a panic where nobody recovers is an error:", err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "limit.read", ID: "c", Corrupt: &fault.Corrupt{Offset: new(int64(1)), Mode: fault.Zeroed}})
			got := make([]byte, 5)
			if n, err := c.Read(got); string(got[:n]) != "h\x00llo" || err != nil {
				t.Errorf("%q, %v", got[:n], err)
			}
		},
		"limit.write": func(t *testing.T, set *fault.Set) {
			l, dial := faultyListener(t, set)
			peer := dial()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			faulttest.Put(t, set, fault.Rule{Point: "limit.write", Count: 1, Panic: &fault.Panicking{}})
			if _, err := c.Write([]byte("x")); !errors.Is(err, fault.ErrInjected) {
				t.Error("a panic where nobody recovers is an error:", err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "limit.write", ID: "t", Truncate: &fault.Truncate{After: 2}})
			if n, err := c.Write([]byte("hello")); n != 2 || !errors.Is(err, syscall.ECONNRESET) {
				t.Error(n, err)
			}
			if got, err := io.ReadAll(peer); string(got) != "he" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		},
	})
}

// strikes holds every effect against one way into a limit, which works as before afterwards.
func strikes(t *testing.T, set *fault.Set, point string, enter func(*Limit, context.Context, Request) (Permit, error)) {
	t.Helper()
	defer faulttest.Clear(t, set)
	l, err := New(Config{Slots: 1, Queue: 1}, WithFaults(set))
	if err != nil {
		t.Fatal(err)
	}
	free := func() {
		t.Helper()
		if s := l.Stats(); s.Admitted != 0 {
			t.Errorf("places are taken: %+v", s)
		}
	}
	flood := Request{Tenant: "flood"}
	faulttest.Put(t, set, fault.Rule{Point: point, Where: map[string]string{"tenant": "flood"}, Error: &fault.Failure{RetryAfter: 7 * time.Second}})
	_, err = enter(l, t.Context(), flood)
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok || rejected.Reason != QueueFull || rejected.RetryAfter != 7*time.Second || !errors.Is(err, fault.ErrInjected) || !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	if n := l.Stats().Rejected[QueueFull]; n != 1 {
		t.Errorf("%d were counted", n)
	}
	free()
	p, err := enter(l, t.Context(), Request{Tenant: "other"})
	if err != nil {
		t.Fatal(err)
	}
	p.Done()
	faulttest.Put(t, set, fault.Rule{Point: point, Panic: &fault.Panicking{}})
	if !faulttest.Panics(t, func() { _, _ = enter(l, t.Context(), flood) }) {
		t.Error("no panic")
	}
	free()
	faulttest.Put(t, set, fault.Rule{Point: point, Hang: &fault.Hang{}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = enter(l, ctx, flood)
	if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Reason != Deadline || errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	free()
	faulttest.Clear(t, set)
	p, err = enter(l, t.Context(), flood)
	if err != nil {
		t.Fatal(err)
	}
	p.Done()
	free()
}

func TestCallerThatLeavesWhileAFaultHoldsItIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		l, err := New(DefaultConfig(), WithFaults(set))
		if err != nil {
			t.Fatal(err)
		}
		faulttest.Put(t, set, fault.Rule{Point: "limit.acquire", Hang: &fault.Hang{}})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrRejected) {
			t.Error(err)
		}
		p, err := l.Admit(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrRejected) {
			t.Error(err)
		}
		if s := l.Stats(); s.Abandoned != 2 || s.Admitted != 0 {
			t.Errorf("%+v", s)
		}
		faulttest.Clear(t, set)
	})
}

// TestHangsEndWithTheDeadlineOfTheRequest: also where it is known from Admit alone, and by the clock of the limit.
func TestHangsEndWithTheDeadlineOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		slow := 24 * time.Hour // by how much the limit's clock is wrong
		now := func() time.Time { return time.Now().Add(-slow) }
		l, err := New(DefaultConfig(), WithFaults(set), WithNow(now))
		if err != nil {
			t.Fatal(err)
		}
		for point, enter := range map[string]func(Request) error{
			"limit.admit": func(r Request) error { _, err := l.AdmitFor(r); return err },
			"limit.acquire": func(r Request) error {
				p, err := l.AdmitFor(r)
				if err != nil {
					return err
				}
				return p.Start(t.Context())
			},
		} {
			faulttest.Put(t, set, fault.Rule{Point: point, Hang: &fault.Hang{}, For: time.Minute})
			began := time.Now()
			err := enter(Request{Deadline: now().Add(time.Second)})
			if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Reason != Deadline || time.Since(began) != time.Second {
				t.Error(point, err, time.Since(began))
			}
			faulttest.Clear(t, set)
		}
		if s := l.Stats(); s.Rejected[Deadline] != 2 || s.Admitted != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestHangOfAdmitEndsWithTheContextOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		l, err := New(DefaultConfig(), WithFaults(set))
		if err != nil {
			t.Fatal(err)
		}
		faulttest.Put(t, set, fault.Rule{Point: "limit.admit", Hang: &fault.Hang{}, For: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if _, err := l.AdmitFor(Request{Ctx: ctx}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrRejected) || time.Since(began) != time.Second {
			t.Error(err, time.Since(began))
		}
		if s := l.Stats(); s.Abandoned != 1 || s.Admitted != 0 {
			t.Errorf("%+v", s)
		}
		faulttest.Clear(t, set)
	})
}

// TestObserversHearOfEachRequestOnceUnderFaults: after Admitted comes exactly one of Rejected and Done.
func TestObserversHearOfEachRequestOnceUnderFaults(t *testing.T) {
	set := faulttest.New(t)
	o := &ends{}
	l, err := New(DefaultConfig(), WithFaults(set), WithObserver(o))
	if err != nil {
		t.Fatal(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "limit.acquire", Error: &fault.Failure{}})
	p, err := l.Admit(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	p.Done()
	if *o != (ends{admitted: 1, rejected: 1}) {
		t.Errorf("%+v", *o)
	}
	if _, err := l.Acquire(t.Context()); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	if *o != (ends{admitted: 1, rejected: 2}) {
		t.Errorf("%+v", *o)
	}
}

type ends struct{ admitted, started, rejected, done int }

func (o *ends) Admitted()             { o.admitted++ }
func (o *ends) Started(time.Duration) { o.started++ }
func (o *ends) Rejected(Reason)       { o.rejected++ }
func (o *ends) Done(time.Duration)    { o.done++ }

func faultyListener(t *testing.T, set *fault.Set) (*Listener, func() net.Conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewListener(inner, DefaultConnConfig(), WithConnFaults(set))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}
