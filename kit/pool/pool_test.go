package pool

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scratch is a value with memory of its own.
type scratch struct {
	numbers []float64
	name    string
}

func (s *scratch) Reset()         { s.numbers, s.name = s.numbers[:0], "" }
func (s *scratch) PoolBytes() int { return 64 + 8*cap(s.numbers) }

func newPool(t testing.TB, c Config) *Pool[*scratch] {
	t.Helper()
	p, err := New[scratch](nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newBuffers(t testing.TB, c BuffersConfig) *Buffers {
	t.Helper()
	p, err := NewBuffers(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantSum checks what holds of any pool when nobody gets or releases.
func wantSum(t *testing.T, s Stats, maxBytes int64) {
	t.Helper()
	if s.Gets != s.Puts+uint64(s.InUse)+s.Leaked || s.Gets != s.Hits+s.News ||
		s.News != uint64(s.InUse+s.Kept)+s.Discarded+s.Collected+s.Leaked || s.Bytes > maxBytes || s.Bytes < int64(s.Kept) {
		t.Errorf("does not add up: %+v", s)
	}
}

// wantMisuse calls do and expects it to panic with a misuse that says so.
func wantMisuse(t *testing.T, says string, do func()) (e *MisuseError) {
	t.Helper()
	defer func() {
		t.Helper()
		err, _ := recover().(error)
		if !errors.As(err, &e) || !errors.Is(err, ErrMisuse) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a misuse: %s", err, says)
		}
	}()
	do()
	return nil
}

// afterGC waits until the garbage collector has done something.
func afterGC(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("20 s of garbage collections, and not: %s", what)
		}
		runtime.GC()
	}
}

func TestValueIsUsedAgainAndIsReset(t *testing.T) {
	p := newPool(t, DefaultConfig())
	for i := range 100 {
		l := p.Get()
		v := l.Value()
		if len(v.numbers) != 0 || v.name != "" {
			t.Fatalf("not reset: %+v", v)
		}
		v.numbers, v.name = append(v.numbers, 1, 2, 3), "x"
		l.Release()
		if i == 0 && v.name != "" {
			t.Error("what a value leads to is kept until the next get")
		}
	}
	s := p.Snapshot()
	wantSum(t, s, DefaultConfig().MaxBytes)
	if s.Gets != 100 || s.Puts != 100 || s.InUse != 0 {
		t.Errorf("%+v", s)
	}
	if !racing && !debugging && s.News > 3 { // a garbage collection may come between
		t.Errorf("%d values made for 100 leases, one at a time", s.News)
	}
}

func TestNewValuesComeFromTheConstructor(t *testing.T) {
	p, err := New(func() *scratch { return &scratch{numbers: make([]float64, 0, 7)} }, DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if n := cap(p.Get().Value().numbers); n != 7 {
		t.Error(n)
	}
}

func TestMisusePanics(t *testing.T) {
	p := newPool(t, DefaultConfig())
	stale := p.Get()
	copied := stale
	stale.Release()
	wantMisuse(t, "used after it was released", func() { stale.Value() })
	wantMisuse(t, "released twice", stale.Release)
	wantMisuse(t, "released twice", copied.Release)
	// Also when somebody else has the value by now.
	for range 40 {
		defer p.Get().Release()
	}
	wantMisuse(t, "used after it was released", func() { stale.Value() })
	wantMisuse(t, "released twice", stale.Release)
	wantMisuse(t, "came from no pool", func() { Lease[*scratch]{}.Value() })
	wantMisuse(t, "came from no pool", Lease[*scratch]{}.Release)
	if s := p.Snapshot(); s.Gets != 41 || s.Puts != 1 || s.InUse != 40 {
		t.Errorf("misuse is counted: %+v", s)
	}
}

func TestMisuseOfBuffersPanics(t *testing.T) {
	b := newBuffers(t, DefaultBuffersConfig())
	stale := b.Get(100)
	w := stale.Writer()
	stale.Release()
	for again := range 2 {
		for what, do := range map[string]func(){
			"Bytes": func() { stale.Bytes() }, "SetBytes": func() { stale.SetBytes(nil) }, "Grow": func() { stale.Grow(1) },
			"Write": func() { stale.Write([]byte("x")) }, "Writer": func() { stale.Writer() }, "Write of Writer": func() { w.Write([]byte("x")) },
		} {
			t.Run(what, func(t *testing.T) { wantMisuse(t, "used after it was released", do) })
		}
		wantMisuse(t, "released twice", stale.Release)
		if again == 0 {
			defer b.Get(100).Release()
		}
	}
	wantMisuse(t, "came from no pool", func() { Buffer{}.Bytes() })
	wantMisuse(t, "came from no pool", Buffer{}.Release)
}

// TestOfTwoReleasesAtOnceOneCounts has two goroutines release each of many leases, as close together as can be.
func TestOfTwoReleasesAtOnceOneCounts(t *testing.T) {
	rounds := 20_000
	if debugging { // each panic tells two stacks
		rounds = 1000
	}
	p := newPool(t, DefaultConfig())
	leases := make([]Lease[*scratch], rounds)
	for i := range leases {
		leases[i] = p.Get()
	}
	var arrived, fine atomic.Int32
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for i, l := range leases {
				for arrived.Add(1); arrived.Load() < 2*int32(i+1); {
					runtime.Gosched()
				}
				func() {
					defer func() { _ = recover() }()
					l.Release()
					fine.Add(1)
				}()
			}
		})
	}
	all.Wait()
	if n := fine.Load(); int(n) != rounds {
		t.Fatalf("%d releases of %d leases were taken", n, rounds)
	}
}

func TestNoMoreBytesAreKeptThanMay(t *testing.T) {
	p := newPool(t, Config{MaxBytes: 1000, MaxValueBytes: 500}) // five values of 64+128
	round := func() {
		var leases []Lease[*scratch]
		for range 20 {
			l := p.Get()
			if v := l.Value(); cap(v.numbers) == 0 {
				v.numbers = make([]float64, 16)
			}
			leases = append(leases, l)
		}
		for _, l := range leases {
			l.Release()
		}
		s := p.Snapshot()
		wantSum(t, s, 1000)
		if s.Kept > 5 || s.Bytes != int64(s.Kept)*192 {
			t.Errorf("%+v", s)
		}
	}
	round()
	if s := p.Snapshot(); s.Kept != 5 && !racing {
		t.Errorf("%d kept, there is room for five", s.Kept)
	}
	// Those that are kept are used again, however many more are needed.
	before := p.Snapshot()
	round()
	round()
	if s := p.Snapshot(); s.Hits-before.Hits < 8 && !racing && !debugging {
		t.Errorf("of two rounds %d hits, five are kept", s.Hits-before.Hits)
	}
}

func TestValueThatGrewTooLargeIsDropped(t *testing.T) {
	p := newPool(t, Config{MaxBytes: 10_000, MaxValueBytes: 1000})
	l := p.Get()
	l.Value().numbers = make([]float64, 0, 10)
	l.Release()
	if s := p.Snapshot(); s.Kept != 1 && !racing || s.Bytes > 144 {
		t.Errorf("%+v", s)
	}
	l = p.Get()
	l.Value().numbers = make([]float64, 0, 1000)
	l.Release()
	s := p.Snapshot()
	wantSum(t, s, 10_000)
	if s.Discarded != 1 || s.Bytes > 144 {
		t.Errorf("%+v", s)
	}
}

// TestWhatIsNotUsedIsCollected: as sync.Pool does, but counted, and the room is free again.
func TestWhatIsNotUsedIsCollected(t *testing.T) {
	if debugging {
		t.Skip("what waits in quarantine is not collected")
	}
	p := newPool(t, DefaultConfig())
	var leases []Lease[*scratch]
	for range 10 {
		leases = append(leases, p.Get())
	}
	for _, l := range leases {
		l.Release()
	}
	clear(leases)
	afterGC(t, "all ten are collected", func() bool { return p.Snapshot().Collected == 10 })
	s := p.Snapshot()
	wantSum(t, s, DefaultConfig().MaxBytes)
	if s.Kept != 0 || s.Gets != 10 || s.Puts != 10 || p.ledger.room.Load() != 0 {
		t.Errorf("%+v, %d bytes of the room are taken", s, p.ledger.room.Load())
	}
}

func TestLeaksAreCounted(t *testing.T) {
	p, b := newPool(t, DefaultConfig()), newBuffers(t, DefaultBuffersConfig())
	forget(p, b)
	afterGC(t, "both leaks are found", func() bool { return p.Snapshot().Leaked == 1 && b.Snapshot().Leaked == 1 })
	for _, s := range []Stats{p.Snapshot(), b.Snapshot()} {
		wantSum(t, s, DefaultConfig().MaxBytes)
		if s.InUse != 0 || s.Gets != 1 || s.Puts != 0 {
			t.Errorf("%+v", s)
		}
	}
}

//go:noinline
func forget(p *Pool[*scratch], b *Buffers) {
	p.Get().Value().name = "forgotten"
	b.Get(100).Write([]byte("forgotten"))
}

func TestPoolItselfIsCollected(t *testing.T) {
	var gone atomic.Bool
	func() {
		p := newPool(t, DefaultConfig())
		p.Get().Release()
		p.Get()
		runtime.AddCleanup(p, func(struct{}) { gone.Store(true) }, struct{}{})
	}()
	afterGC(t, "the pool is collected", gone.Load)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if racing || debugging {
		t.Skip("not in this build")
	}
	p, b := newPool(t, DefaultConfig()), newBuffers(t, DefaultBuffersConfig())
	piece := make([]byte, 300)
	if n := testing.AllocsPerRun(1000, func() {
		l := p.Get()
		v := l.Value()
		v.numbers = append(v.numbers, 1, 2, 3)
		l.Release()
		buf := b.Get(1000)
		buf.SetBytes(append(buf.Bytes(), piece...))
		for range 10 { // grows three times
			buf.Writer().Write(piece)
		}
		buf.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConfigsReportEveryFault(t *testing.T) {
	for err, faults := range map[error][]string{
		Config{}.Validate():        {"max_bytes: ", "max_value_bytes: "},
		BuffersConfig{}.Validate(): {"min_size: ", "max_size: ", "max_bytes: "},
		BuffersConfig{MinSize: 24, MaxSize: 8, MaxBytes: 1}.Validate(): {"min_size: must be a power of two", "max_size: must be from min_size"},
	} {
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(faults) {
			t.Fatalf("%q, want %q", lines, faults)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, faults[i]) {
				t.Errorf("%q, want %q", line, faults[i])
			}
		}
	}
	for _, err := range []error{DefaultConfig().Validate(), DefaultBuffersConfig().Validate()} {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := New[scratch](nil, Config{}); err == nil {
		t.Error("a pool without a bound")
	}
	if _, err := NewBuffers(BuffersConfig{}); err == nil {
		t.Error("buffers without sizes")
	}
}
