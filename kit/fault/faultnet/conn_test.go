package faultnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

var (
	dialing   = fault.Def{Name: "n.dial", Doc: "A connection is dialled.", Attrs: []string{"network", "address"}, Effects: fault.Call}
	accepting = fault.Def{Name: "n.accept", Doc: "A connection is accepted.", Attrs: []string{"remote"}, Effects: fault.Bytes}
	reading   = fault.Def{Name: "n.read", Doc: "Bytes are read.", Attrs: []string{"network", "local", "remote", "address"}, Effects: fault.Bytes}
	writing   = fault.Def{Name: "n.write", Doc: "Bytes are written.", Attrs: []string{"network", "local", "remote", "address"}, Effects: fault.Bytes}
	closing   = fault.Def{Name: "n.close", Doc: "A connection is closed.", Effects: fault.Call}
)

func points(set *fault.Set) Points {
	return Points{
		Dial: set.Point(dialing), Accept: set.Point(accepting), Read: set.Point(reading), Write: set.Point(writing), Close: set.Point(closing),
	}
}

// pipe returns a connection under faults and its other end.
func pipe(t testing.TB) (*fault.Set, net.Conn, net.Conn) {
	set := faulttest.New(t)
	a, b := net.Pipe()
	c := Conn(a, points(set))
	t.Cleanup(func() { faulttest.Clear(t, set); c.Close(); b.Close() })
	return set, c, b
}

func isOp(t *testing.T, err error, op string, target error) {
	t.Helper()
	e, ok := errors.AsType[*net.OpError](err)
	if !ok || e.Op != op || !errors.Is(err, target) {
		t.Errorf("%v (%T) is no %s with %v", err, err, op, target)
	}
}

func TestConnWithoutPointsIsTheConn(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Conn(a, Points{}) != a || Conn(a, Points{Dial: new(fault.Point)}) != a {
		t.Error("it is another")
	}
}

func TestErrorsComeBeforeAnyByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Error: &fault.Failure{Cause: "reset"}})
		_, err := c.Read(make([]byte, 1))
		isOp(t, err, "read", syscall.ECONNRESET)
		_, err = c.Write([]byte("x"))
		isOp(t, err, "write", fault.ErrInjected)
		faulttest.Put(t, set, fault.Rule{Point: "*", Error: &fault.Failure{Cause: "timeout"}})
		_, err = c.Read(make([]byte, 1))
		isOp(t, err, "read", os.ErrDeadlineExceeded)
		if e := err.(net.Error); !e.Timeout() {
			t.Error("no timeout")
		}
		faulttest.Put(t, set, fault.Rule{Point: "*", Error: &fault.Failure{Cause: "eof"}})
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		faulttest.Clear(t, set)
		go func() { _, _ = c.Write([]byte("ok")) }()
		got := make([]byte, 3)
		if n, err := b.Read(got); string(got[:n]) != "ok" || err != nil {
			t.Errorf("%q, %v", got[:n], err)
		}
	})
}

func TestDelayAndHangEndAtTheDeadline(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"delay": {Delay: &fault.Delay{Fixed: time.Minute}},
		"hang":  {Hang: &fault.Hang{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, c, _ := pipe(t)
				rule.Point = "*"
				faulttest.Put(t, set, rule)
				calls := map[string]func() error{
					"read":  func() error { _, err := c.Read(make([]byte, 1)); return err },
					"write": func() error { _, err := c.Write([]byte("x")); return err },
				}
				for op, call := range calls {
					timed := func(want time.Duration) {
						t.Helper()
						began := time.Now()
						isOp(t, call(), op, os.ErrDeadlineExceeded)
						if took := time.Since(began); took != want {
							t.Errorf("%s: took %v, not %v", op, took, want)
						}
					}
					// Before the call, long ago, and while it waits: later, earlier, not at all, and in the past.
					_ = c.SetDeadline(time.Now().Add(time.Second))
					timed(time.Second)
					_ = c.SetDeadline(time.Now().Add(-time.Second))
					timed(0)
					_ = c.SetDeadline(time.Now().Add(time.Second))
					go func() {
						time.Sleep(500 * time.Millisecond)
						_ = c.SetDeadline(time.Now().Add(5 * time.Second))
						time.Sleep(500 * time.Millisecond)
						_ = c.SetDeadline(time.Time{})
						time.Sleep(10 * time.Second)
						if op == "read" {
							_ = c.SetReadDeadline(time.Now().Add(-1))
						} else {
							_ = c.SetWriteDeadline(time.Now().Add(-1))
						}
					}()
					timed(11 * time.Second)
					_ = c.SetDeadline(time.Time{})
				}
			})
		})
	}
}

func TestDeadlineOfOneDirectionLeavesTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, _ := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Hang: &fault.Hang{}})
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_ = c.SetWriteDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		_, err := c.Write([]byte("x"))
		isOp(t, err, "write", os.ErrDeadlineExceeded)
		if took := time.Since(began); took != time.Hour {
			t.Error(took)
		}
	})
}

func TestCloseEndsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, _ := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "n.read", Hang: &fault.Hang{}})
		go func() { time.Sleep(time.Second); c.Close() }()
		began := time.Now()
		_, err := c.Read(make([]byte, 1))
		isOp(t, err, "read", net.ErrClosed)
		if took := time.Since(began); took != time.Second {
			t.Error(took)
		}
		_, err = c.Read(make([]byte, 1))
		isOp(t, err, "read", net.ErrClosed)
	})
}

func TestDropLosesBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Count: 1, Drop: &fault.Drop{}})
		if n, err := c.Write([]byte("lost")); n != 4 || err != nil {
			t.Error(n, err)
		}
		faulttest.Put(t, set, fault.Rule{ID: "again", Point: "n.read", Count: 1, Drop: &fault.Drop{}})
		go func() { _, _ = b.Write([]byte("lost")); _, _ = b.Write([]byte("kept")); b.Close() }()
		if got, err := io.ReadAll(c); string(got) != "kept" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestBytesThatComeAfterTheRuleAreNotLost: a read that was struck may wait for long.
func TestBytesThatComeAfterTheRuleAreNotLost(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"drop":     {Drop: &fault.Drop{}},
		"truncate": {Truncate: &fault.Truncate{}},
		"corrupt":  {Corrupt: &fault.Corrupt{Length: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, c, b := pipe(t)
				rule.Point, rule.Count = "n.read", 1
				faulttest.Put(t, set, rule)
				got := make(chan string, 1)
				go func() { all, err := io.ReadAll(c); got <- string(all); _ = err }()
				synctest.Wait() // it waits for bytes
				faulttest.Clear(t, set)
				_, _ = b.Write([]byte("kept"))
				b.Close()
				if all := <-got; all != "kept" {
					t.Errorf("%q", all)
				}
			})
		})
	}
}

// TestLostWriteFailsWhereAWriteWould: what is dropped is no longer asked of the connection beneath, which would say so.
func TestLostWriteFailsWhereAWriteWould(t *testing.T) {
	for name, rule := range map[string]fault.Rule{"drop": {Drop: &fault.Drop{}}, "truncate": {Truncate: &fault.Truncate{}}} {
		t.Run(name, func(t *testing.T) {
			rule.Point = "n.write"
			wants := func(t *testing.T, set *fault.Set, c net.Conn, target error) {
				t.Helper()
				faulttest.Put(t, set, rule)
				n, err := c.Write([]byte("lost"))
				if n != 0 {
					t.Error(n)
				}
				isOp(t, err, "write", target)
			}
			t.Run("closed", func(t *testing.T) {
				set, c, _ := pipe(t)
				_ = c.Close()
				wants(t, set, c, net.ErrClosed)
			})
			t.Run("late", func(t *testing.T) {
				set, c, _ := pipe(t)
				_ = c.SetWriteDeadline(time.Now().Add(-time.Second))
				wants(t, set, c, os.ErrDeadlineExceeded)
			})
			t.Run("cut", func(t *testing.T) {
				set, c, _ := pipe(t)
				faulttest.Put(t, set, fault.Rule{ID: "cut", Point: "n.write", Count: 1, Truncate: &fault.Truncate{}})
				_, err := c.Write([]byte("x"))
				isOp(t, err, "write", syscall.ECONNRESET)
				wants(t, set, c, syscall.ECONNRESET)
			})
			t.Run("shut", func(t *testing.T) {
				set, l := listen(t)
				peer, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer peer.Close()
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.(*conn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				wants(t, set, c, syscall.EPIPE)
			})
		})
	}
}

func TestTruncateCutsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "n.write", Truncate: &fault.Truncate{After: 3}})
		got := make(chan []byte, 1)
		go func() { all, _ := io.ReadAll(b); got <- all }()
		if n, err := c.Write([]byte("ab")); n != 2 || err != nil {
			t.Error(n, err)
		}
		n, err := c.Write([]byte("cdefg"))
		if n != 3 {
			t.Error(n)
		}
		isOp(t, err, "write", syscall.ECONNRESET)
		if all := <-got; string(all) != "abcde" {
			t.Errorf("%q", all)
		}
		_, err = c.Write([]byte("x"))
		isOp(t, err, "write", syscall.ECONNRESET)
		_, err = c.Read(make([]byte, 1))
		isOp(t, err, "read", syscall.ECONNRESET)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "n.read", Truncate: &fault.Truncate{After: 3}})
		go func() { _, _ = b.Write([]byte("abcdef")) }()
		got, err := io.ReadAll(c)
		if string(got) != "abc" {
			t.Errorf("%q", got)
		}
		isOp(t, err, "read", syscall.ECONNRESET)
	})
}

func TestCorruptLeavesTheCallersBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Corrupt: &fault.Corrupt{Offset: new(int64(1)), Length: 2, Mode: fault.Zeroed}})
		mine := []byte("abcd")
		go func() { _, _ = c.Write(mine); c.Close() }()
		if got, err := io.ReadAll(b); string(got) != "a\x00\x00d" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if string(mine) != "abcd" {
			t.Errorf("%q", mine)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Corrupt: &fault.Corrupt{Offset: new(int64(1)), Length: 2, Mode: fault.Zeroed}})
		go func() { _, _ = b.Write([]byte("abcd")); b.Close() }()
		if got, err := io.ReadAll(c); string(got) != "a\x00\x00d" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestCloseClosesWhateverHappens(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"error": {Error: &fault.Failure{Cause: "io"}},
		"panic": {Panic: &fault.Panicking{}},
		"delay": {Delay: &fault.Delay{Fixed: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, c, b := pipe(t)
				rule.Point = "n.close"
				faulttest.Put(t, set, rule)
				switch err := c.Close(); {
				case rule.Error != nil:
					isOp(t, err, "close", syscall.EIO)
				case rule.Panic != nil:
					isOp(t, err, "close", fault.ErrInjected)
				case err != nil:
					t.Error(err)
				}
				if _, err := b.Read(make([]byte, 1)); err != io.EOF {
					t.Error("it is open:", err)
				}
			})
		})
	}
}

func TestPanicIsAnErrorAndTheConnWorksOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, c, b := pipe(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Panic: &fault.Panicking{Message: "boo"}})
		_, err := c.Read(make([]byte, 1))
		isOp(t, err, "read", fault.ErrInjected)
		if !strings.Contains(err.Error(), "n.read (rule r): panic: boo") {
			t.Error(err)
		}
		_, err = c.Write([]byte("x"))
		isOp(t, err, "write", fault.ErrInjected)
		_, err = Dial(func(context.Context, string, string) (net.Conn, error) { return b, nil }, points(set))(t.Context(), "tcp", "redis:6379")
		isOp(t, err, "dial", fault.ErrInjected)
		faulttest.Clear(t, set)
		go func() { _, _ = b.Write([]byte("x")) }()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if n := len(c.(*conn).reads.waits) + len(c.(*conn).writes.waits); n != 0 {
			t.Error(n, "waits are kept")
		}
	})
}

func TestDialFailsHangsAndTellsTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		calls := 0
		a, b := net.Pipe()
		defer b.Close()
		dial := Dial(func(context.Context, string, string) (net.Conn, error) { calls++; return a, nil }, points(set))
		faulttest.Put(t, set, fault.Rule{Point: "n.dial", Where: map[string]string{"address": "redis:*"}, Error: &fault.Failure{Cause: "refused"}})
		_, err := dial(t.Context(), "tcp", "redis:6379")
		isOp(t, err, "dial", syscall.ECONNREFUSED)
		if !strings.Contains(err.Error(), "dial tcp redis:6379") || calls != 0 {
			t.Error(err, calls)
		}
		faulttest.Put(t, set, fault.Rule{Point: "n.dial", Hang: &fault.Hang{}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = dial(ctx, "tcp", "redis:6379")
		isOp(t, err, "dial", context.DeadlineExceeded)
		faulttest.Put(t, set, fault.Rule{Point: "n.read", Where: map[string]string{"address": "redis:6379"}, Error: &fault.Failure{}})
		c, err := dial(t.Context(), "tcp", "redis:6379")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Read(nil)
		isOp(t, err, "read", fault.ErrInjected)
	})
}

// listen returns a listener under faults, on the loopback.
func listen(t testing.TB, opts ...fault.Option) (*fault.Set, net.Listener) {
	set := faulttest.New(t, opts...)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listener(inner, points(set))
	t.Cleanup(func() { l.Close() })
	return set, l
}

func TestAcceptReturnsWhatIsTemporary(t *testing.T) {
	set, l := listen(t)
	for _, cause := range []string{"too_many_files", "timeout"} {
		faulttest.Put(t, set, fault.Rule{Point: "n.accept", Error: &fault.Failure{Cause: cause}})
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Accept()
		isOp(t, err, "accept", fault.ErrInjected)
		if e := err.(interface{ Temporary() bool }); !e.Temporary() {
			t.Error(cause, "is not temporary")
		}
		if _, err := peer.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
		peer.Close()
	}
}

// TestListenerOutlivesWhatIsNotTemporary: to a server such an error would be the end of its listener.
func TestListenerOutlivesWhatIsNotTemporary(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"error":    {Error: &fault.Failure{Cause: "io"}},
		"no cause": {Error: &fault.Failure{}},
		"panic":    {Panic: &fault.Panicking{}},
		"drop":     {Drop: &fault.Drop{}},
	} {
		t.Run(name, func(t *testing.T) {
			set, l := listen(t)
			rule.Point, rule.Count = "n.accept", 1
			faulttest.Put(t, set, rule)
			var peers [2]net.Conn
			for i := range peers {
				peer, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer peer.Close()
				peers[i] = peer
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.RemoteAddr().String() != peers[1].LocalAddr().String() || faulttest.Hits(set, "n.accept") != 1 {
				t.Error(c.RemoteAddr(), peers[1].LocalAddr(), faulttest.Hits(set, "n.accept"))
			}
			if _, err := peers[0].Read(make([]byte, 1)); err == nil {
				t.Error("the connection is open")
			}
		})
	}
}

// struck tells of hits at a point.
type struck struct {
	point string
	hits  chan struct{}
}

func strikes(point string) struck { return struck{point, make(chan struct{}, 1000)} }

func (s struck) Changed(fault.Change) {}

func (s struck) Struck(_ context.Context, h fault.Hit) {
	if h.Point == s.point {
		s.hits <- struct{}{}
	}
}

func TestListenerCloseEndsWhatHangs(t *testing.T) {
	accepts := strikes("n.accept")
	set, l := listen(t, fault.WithObserver(accepts))
	faulttest.Put(t, set, fault.Rule{Point: "n.accept", Hang: &fault.Hang{}})
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	done := make(chan error, 1)
	go func() { _, err := l.Accept(); done <- err }()
	<-accepts.hits
	l.Close()
	isOp(t, <-done, "accept", net.ErrClosed)
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}

func TestFilesAreStillSentByTheKernel(t *testing.T) {
	set, l := listen(t)
	const size = 1 << 20
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	send := func() []byte {
		t.Helper()
		got := make(chan []byte, 1)
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		go func() { all, _ := io.ReadAll(peer); peer.Close(); got <- all }()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = file.Seek(0, io.SeekStart)
		if _, err := io.Copy(c, file); err != nil {
			t.Error(err)
		}
		c.Close()
		return <-got
	}
	if !slices.Equal(send(), content) {
		t.Error("it is another file")
	}
	// Beneath io.Copy the point still sees each write.
	faulttest.Put(t, set, fault.Rule{Point: "n.write", Count: 1, Corrupt: &fault.Corrupt{Offset: new(int64(100)), Length: 1024, Mode: fault.Zeroed}})
	want := slices.Clone(content)
	clear(want[100 : 100+1024])
	if !slices.Equal(send(), want) {
		t.Error("it is not the damaged file")
	}
}

func TestHalvesAndSocketsOfTheConnectionBeneath(t *testing.T) {
	_, l := listen(t)
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	full := c.(*conn)
	if err := full.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	if _, err := full.SyscallConn(); err != nil || full.CloseRead() != nil || full.SetLinger(0) != nil || full.NetConn() == nil {
		t.Error(err)
	}
	_, p, _ := pipe(t)
	bare := p.(*conn)
	if _, err := bare.SyscallConn(); err == nil || bare.CloseRead() == nil || bare.CloseWrite() == nil || bare.SetLinger(0) == nil {
		t.Error("a pipe has neither halves nor a socket")
	}
}

// sink takes and gives without cost of its own.
type sink struct{ net.Conn }

func (sink) Read(b []byte) (int, error)  { return len(b), nil }
func (sink) Write(b []byte) (int, error) { return len(b), nil }

func TestConnThatIsOffAllocatesNothing(t *testing.T) {
	c := Conn(sink{}, points(faulttest.New(t)))
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Read(b); _, _ = c.Write(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOnButNotMatching(b *testing.B) {
	set := faulttest.New(b)
	inner, other := net.Pipe()
	defer inner.Close()
	defer other.Close()
	faulttest.Put(b, set, fault.Rule{Point: "*", Where: map[string]string{"remote": "nobody"}, Hang: &fault.Hang{}})
	c := Conn(sink{inner}, points(set))
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = c.Write(buf)
	}
}

func BenchmarkOff(b *testing.B) {
	set := faulttest.New(b)
	buf := make([]byte, 64)
	for name, c := range map[string]net.Conn{"bare": sink{}, "points": Conn(sink{}, points(set))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Write(buf)
			}
		})
	}
}
