package fallback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
)

var errDown = errors.New("down")

func good(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

func bad(context.Context) (string, error) { return "half a result", errDown }

func newFallback(t *testing.T, c Config, opts ...Option[string, string]) *Fallback[string, string] {
	t.Helper()
	f, err := New(c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func constant(v string) Option[string, string] {
	return WithDefault(func(context.Context, string, error) (string, error) { return v, nil })
}

// want makes a call and compares its answer.
func want(t *testing.T, f *Fallback[string, string], key string, primary func(context.Context) (string, error), value string, source Source, age time.Duration) {
	t.Helper()
	r, err := f.Do(t.Context(), key, primary)
	if r.Value != value || r.Source != source || r.Age != age {
		t.Fatalf("got %+v, %v; want %q, %s, %v old", r, err, value, source, age)
	}
	if (err != nil) != (source == None) || (r.Err != nil) != (source != Primary) || r.Err != nil && !errors.Is(r.Err, errDown) {
		t.Fatalf("got %+v, error %v", r, err)
	}
}

func TestAnswersComeInOrder(t *testing.T) {
	m := clock.NewManual()
	f := newFallback(t, DefaultConfig(), WithClock[string, string](m.Clock()), constant("default"))
	want(t, f, "a", bad, "default", Default, 0)
	want(t, f, "a", good("1"), "1", Primary, 0)
	m.Advance(300 * time.Second)
	want(t, f, "a", bad, "1", Cached, 300*time.Second)
	want(t, f, "b", bad, "default", Default, 0) // another key
	want(t, f, "a", bad, "1", Cached, 300*time.Second)
	m.Advance(1)
	want(t, f, "a", bad, "default", Default, 0) // too old
	want(t, f, "a", good("2"), "2", Primary, 0)
	m.Advance(time.Second)
	want(t, f, "a", good("3"), "3", Primary, 0) // what is good is never answered from before
	want(t, f, "a", bad, "3", Cached, 0)
	f.Forget("a")
	f.Forget("a")
	want(t, f, "a", bad, "default", Default, 0)
	if s := f.Snapshot(); s != (Snapshot{Primary: 3, Cached: 3, Default: 4}) {
		t.Errorf("%+v", s)
	}
}

func TestWithoutAnAnswerTheErrorIsThatOfTheCall(t *testing.T) {
	f := newFallback(t, DefaultConfig())
	if r, err := f.Do(t.Context(), "a", bad); err != errDown || r != (Result[string]{Source: None, Err: errDown}) {
		t.Errorf("got %+v, %v", r, err)
	}
	errEmpty := errors.New("empty")
	f = newFallback(t, DefaultConfig(), WithDefault(func(context.Context, string, error) (string, error) { return "half", errEmpty }))
	r, err := f.Do(t.Context(), "a", bad)
	if !errors.Is(err, errDown) || !errors.Is(err, errEmpty) || r != (Result[string]{Source: None, Err: errDown}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if s := f.Snapshot(); s.Failed != 1 || s.Entries != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFallbackIsNeverKeptAsGood(t *testing.T) {
	m := clock.NewManual()
	f := newFallback(t, DefaultConfig(), WithClock[string, string](m.Clock()), constant("default"))
	want(t, f, "a", bad, "default", Default, 0)
	want(t, f, "a", bad, "default", Default, 0) // and not cached
	want(t, f, "a", good("1"), "1", Primary, 0)
	for i := range 300 {
		want(t, f, "a", bad, "1", Cached, time.Duration(i)*time.Second)
		m.Advance(time.Second)
	}
	m.Advance(1)
	want(t, f, "a", bad, "default", Default, 0) // being served made it no younger
}

func TestSomeErrorsAreAnswers(t *testing.T) {
	errNotFound := errors.New("not found")
	f := newFallback(t, DefaultConfig(), constant("default"), WithWhen[string, string](func(err error) bool { return !errors.Is(err, errNotFound) }))
	want(t, f, "a", good("1"), "1", Primary, 0)
	missing := fmt.Errorf("a: %w", errNotFound)
	if r, err := f.Do(t.Context(), "a", func(context.Context) (string, error) { return "", missing }); err != missing || r.Source != None {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := f.Do(t.Context(), "a", bad); err != nil || r.Source != Cached {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestNobodyIsAnsweredWhoHasLeft(t *testing.T) {
	f := newFallback(t, DefaultConfig(), constant("default"), WithWhen[string, string](func(error) bool { t.Error("asked"); return true }))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := f.Do(ctx, "a", func(ctx context.Context) (string, error) { cancel(); return "", errDown })
	if err != errDown || r.Source != None {
		t.Errorf("got %+v, %v", r, err)
	}
	// But what something else canceled is a failure like any other.
	f = newFallback(t, DefaultConfig(), constant("default"))
	r, err = f.Do(t.Context(), "a", func(context.Context) (string, error) { return "", context.Canceled })
	if err != nil || r.Source != Default {
		t.Errorf("got %+v, %v", r, err)
	}
}

func hang(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }

func TestHangingCallLeavesTimeForTheDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct{ reserve, timeout, patience, primary, left time.Duration }{
			{50 * time.Millisecond, time.Second, time.Second, 950 * time.Millisecond, 50 * time.Millisecond},
			{50 * time.Millisecond, 20 * time.Millisecond, time.Second, 950 * time.Millisecond, 20 * time.Millisecond},
			{time.Hour, time.Second, time.Second, 500 * time.Millisecond, 500 * time.Millisecond}, // at most half
			{0, time.Second, time.Second, time.Second, 0},
		} {
			var left time.Duration
			f := newFallback(t, Config{Reserve: test.reserve, DefaultTimeout: test.timeout}, WithDefault(func(ctx context.Context, _ string, cause error) (string, error) {
				if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil {
					left = time.Until(deadline)
				}
				if !errors.Is(cause, context.DeadlineExceeded) {
					t.Errorf("cause %v", cause)
				}
				return "default", nil
			}))
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), test.patience)
			r, err := f.Do(ctx, "a", hang)
			cancel()
			if took := time.Since(begin); took != test.primary || left != test.left || err != nil || r.Source != Default {
				t.Errorf("%+v: took %v, left %v; %+v, %v", test, took, left, r, err)
			}
		}
	})
}

func TestExpiredCallerGetsWhatIsThere(t *testing.T) {
	f := newFallback(t, DefaultConfig())
	want(t, f, "a", good("1"), "1", Primary, 0)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	if r, err := f.Do(ctx, "a", hang); err != nil || r.Source != Cached {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestDefaultHasADeadlineWithoutOneOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFallback(t, DefaultConfig(), WithDefault(func(ctx context.Context, _ string, _ error) (string, error) { return hang(ctx) }))
		begin := time.Now()
		if _, err := f.Do(context.Background(), "a", bad); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestPanicsPassThroughAndBreakNothing(t *testing.T) {
	boom := func(string) (panics bool) {
		panic("boom")
	}
	for name, opts := range map[string][]Option[string, string]{
		"primary": nil,
		"default": {WithDefault(func(context.Context, string, error) (string, error) { boom(""); return "", nil })},
		"when":    {WithWhen[string, string](func(err error) bool { return boom("") })},
		"size":    {WithSize(func(k, v string) int64 { boom(""); return 0 })},
		"clone":   {WithClone[string](func(v string) string { boom(""); return v })},
	} {
		f := newFallback(t, DefaultConfig(), opts...)
		primary := bad
		switch name {
		case "primary":
			primary = func(context.Context) (string, error) { boom(""); return "", nil }
		case "size", "clone":
			primary = good("1")
		}
		func() {
			defer func() {
				if recover() != "boom" {
					t.Errorf("%s: the panic was lost", name)
				}
			}()
			_, _ = f.Do(t.Context(), "a", primary)
		}()
		if s := f.Snapshot(); s.Entries != 0 || s.Primary != 0 { // and the lock is free
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestCloneSeparatesCallersFromWhatIsKept(t *testing.T) {
	f, err := New(DefaultConfig(), WithClone[string](slices.Clone[[]int]))
	if err != nil {
		t.Fatal(err)
	}
	own := []int{1}
	if _, err := f.Do(t.Context(), "a", func(context.Context) ([]int, error) { return own, nil }); err != nil {
		t.Fatal(err)
	}
	own[0] = 2
	for range 2 {
		r, err := f.Do(t.Context(), "a", func(context.Context) ([]int, error) { return nil, errDown })
		if err != nil || r.Value[0] != 1 {
			t.Fatalf("got %+v, %v", r, err)
		}
		r.Value[0] = 3
	}
}

type observed struct {
	f    *Fallback[string, string]
	told []string
}

func (o *observed) Done(source Source, age time.Duration, err error) {
	o.f.Snapshot() // deadlocks if a lock is held
	o.told = append(o.told, fmt.Sprint(source, " ", age, " ", err))
}

func TestObserverHearsOfEachCall(t *testing.T) {
	m, o := clock.NewManual(), &observed{}
	f := newFallback(t, DefaultConfig(), WithClock[string, string](m.Clock()), WithObserver[string, string](o))
	o.f = f
	for _, primary := range []func(context.Context) (string, error){bad, good("1"), bad} {
		_, _ = f.Do(t.Context(), "a", primary)
		m.Advance(time.Second)
	}
	if want := []string{"none 0s down", "primary 0s <nil>", "cached 1s down"}; !slices.Equal(o.told, want) {
		t.Errorf("told %q", o.told)
	}
}

func TestSuccessDoesNotAllocate(t *testing.T) {
	f := newFallback(t, DefaultConfig(), constant("default"))
	ctx, primary := context.Background(), good("1")
	_, _ = f.Do(ctx, "a", primary)
	if n := testing.AllocsPerRun(1000, func() { _, _ = f.Do(ctx, "a", primary) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = f.Do(ctx, "a", bad) }); n != 0 {
		t.Errorf("%v allocations for a cached answer", n)
	}
}

func TestEveryFaultOfAConfigurationIsReported(t *testing.T) {
	err := Config{Entries: -1, Bytes: -1, Reserve: -1}.Validate()
	for _, path := range []string{"entries", "bytes", "default_timeout", "reserve"} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+path+": ") {
			t.Errorf("%s is missing in\n%v", path, err)
		}
	}
	if err := (Config{Entries: 1, DefaultTimeout: 1}).Validate(); err == nil || err.Error() != "ttl: must be above 0, is 0s" {
		t.Error(err)
	}
	c := DefaultConfig()
	c.Bytes = 1
	if _, err := New[string, string](c); err == nil || !strings.HasPrefix(err.Error(), "fallback: bytes: needs") {
		t.Error(err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// TestCallersDoNotMeet has goroutines use few entries for many keys at once. The value tells the key.
func TestCallersDoNotMeet(t *testing.T) {
	c := DefaultConfig()
	c.Entries, c.Bytes = 8, 20
	f := newFallback(t, c, WithSize(func(k, v string) int64 { return int64(len(v)) }))
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 5000 {
				key := fmt.Sprint((i * (worker + 1)) % 13)
				primary := good(key)
				if i%3 == 0 {
					primary = bad
				}
				if r, err := f.Do(context.Background(), key, primary); err == nil && r.Value != key {
					t.Errorf("%s has the value of %s", key, r.Value)
				}
				if i%50 == 0 {
					f.Forget(key)
				}
				if s := f.Snapshot(); s.Entries > c.Entries || s.Bytes > c.Bytes || s.Entries < 0 || s.Bytes < 0 {
					t.Errorf("%+v", s)
				}
			}
		})
	}
	all.Wait()
	if s := f.Snapshot(); s.Cached == 0 || s.Failed == 0 || s.Evicted == 0 || s.Primary+s.Cached+s.Failed != 8*5000 {
		t.Errorf("this tests little, or miscounts: %+v", s)
	}
}

func benchFallback(b *testing.B, c Config) *Fallback[string, string] {
	f, err := New(c, constant("default"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return f
}

func BenchmarkPrimary(b *testing.B) {
	f, ctx, primary := benchFallback(b, DefaultConfig()), context.Background(), good("1")
	for b.Loop() {
		_, _ = f.Do(ctx, "a", primary)
	}
}

func BenchmarkPrimaryParallel(b *testing.B) {
	f, ctx, primary := benchFallback(b, DefaultConfig()), context.Background(), good("1")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = f.Do(ctx, "a", primary)
		}
	})
}

func BenchmarkPrimaryNewKey(b *testing.B) {
	c := DefaultConfig()
	c.Entries = 1000
	f, err := New[int, int](c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	ctx, i := context.Background(), 0
	primary := func(context.Context) (int, error) { return 1, nil }
	for b.Loop() {
		_, _ = f.Do(ctx, i, primary)
		i++
	}
}

func BenchmarkPrimaryWithReserve(b *testing.B) {
	f, primary := benchFallback(b, DefaultConfig()), good("1")
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for b.Loop() {
		_, _ = f.Do(ctx, "a", primary)
	}
}

func BenchmarkCached(b *testing.B) {
	f, ctx := benchFallback(b, DefaultConfig()), context.Background()
	_, _ = f.Do(ctx, "a", good("1"))
	for b.Loop() {
		_, _ = f.Do(ctx, "a", bad)
	}
}

func BenchmarkDefault(b *testing.B) {
	f, ctx := benchFallback(b, DefaultConfig()), context.Background()
	for b.Loop() {
		_, _ = f.Do(ctx, "a", bad)
	}
}
