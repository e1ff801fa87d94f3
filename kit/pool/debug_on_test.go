//go:build dougong_pooldebug

package pool

import (
	"strings"
	"testing"
)

//go:noinline
func getHere(p *Pool[*scratch]) Lease[*scratch] { return p.Get() }

//go:noinline
func releaseHere(l Lease[*scratch]) { l.Release() }

func wantStacks(t *testing.T, e *MisuseError) {
	t.Helper()
	if e == nil || !strings.Contains(e.Got, "getHere") || !strings.Contains(e.Released, "releaseHere") {
		t.Errorf("not the stacks of Get and Release: %v", e)
	}
}

func TestMisuseTellsBothStacks(t *testing.T) {
	p := newPool(t, DefaultConfig())
	l := getHere(p)
	releaseHere(l)
	wantStacks(t, wantMisuse(t, "twice", l.Release))
	wantStacks(t, wantMisuse(t, "used after", func() { l.Value() }))
	for range 10 * quarantine {
		p.Get().Release()
	}
	e := wantMisuse(t, "twice", l.Release)
	if e != nil && !strings.Contains(e.Got, "forgotten") {
		t.Errorf("stacks of another lease: %v", e)
	}
}

// churn gets and releases until whatever waits has been looked at.
func churn(p *Pool[*scratch]) {
	for range quarantine + 1 {
		p.Get().Release()
	}
}

func TestWriteToAReleasedValueIsFound(t *testing.T) {
	for says, spoil := range map[string]func(*scratch){
		"field name":                 func(s *scratch) { s.name = "late" },
		"field numbers":              func(s *scratch) { s.numbers = append(s.numbers, 1) },
		"byte 8 of pool.scratch.num": func(s *scratch) { s.numbers[:2][1] = 1 },
	} {
		t.Run(says, func(t *testing.T) {
			p := newPool(t, DefaultConfig())
			l := getHere(p)
			v := l.Value()
			v.numbers = append(v.numbers, 1, 2, 3)
			releaseHere(l)
			spoil(v)
			e := wantMisuse(t, "written to after it was released: ", func() { churn(p) })
			wantStacks(t, e)
			if e != nil && !strings.Contains(e.What, says) {
				t.Errorf("%s, want %s", e.What, says)
			}
		})
	}
}

func TestWhatIsReleasedIsPoisoned(t *testing.T) {
	p, b := newPool(t, DefaultConfig()), newBuffers(t, DefaultBuffersConfig())
	l := p.Get()
	l.Value().numbers = append(l.Value().numbers, 1, 2, 3)
	numbers := l.Value().numbers
	l.Release()
	buf := b.Get(10)
	buf.Write([]byte("secret"))
	text := buf.Bytes()
	buf.Release()
	if numbers[0] > -1e100 || text[0] != poison {
		t.Errorf("%v %q", numbers, text)
	}
	text[3] = 0
	wantMisuse(t, "byte 3 of a buffer of 512", func() {
		for range quarantine + 1 {
			b.Get(10).Release()
		}
	})
}

func TestSliceFromBeforeAGrowthIsPoisoned(t *testing.T) {
	b := newBuffers(t, DefaultBuffersConfig())
	buf := b.Get(10)
	defer buf.Release()
	buf.Write([]byte("secret"))
	old := buf.Bytes()
	buf.Grow(10_000)
	if old[0] != poison || string(buf.Bytes()) != "secret" {
		t.Errorf("%q %q", old, buf.Bytes())
	}
}

func TestLeaksTellWhereFrom(t *testing.T) {
	p, b := newPool(t, DefaultConfig()), newBuffers(t, DefaultBuffersConfig())
	for range 3 {
		forget(p, b)
	}
	afterGC(t, "all leaks are found", func() bool { return p.Snapshot().Leaked == 3 && b.Snapshot().Leaked == 3 })
	for _, leaks := range [][]Leak{p.Leaks(), b.Leaks()} {
		if len(leaks) != 1 || leaks[0].Count != 3 || !strings.Contains(leaks[0].Stack, "pool.forget") {
			t.Errorf("%+v", leaks)
		}
	}
}
