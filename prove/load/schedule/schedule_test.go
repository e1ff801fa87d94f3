package schedule

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func all(t *testing.T, spec *Spec, seed uint64) []Due {
	t.Helper()
	s, err := New(spec, seed)
	if err != nil {
		t.Fatal(err)
	}
	var dues []Due
	for due, ok := s.Next(); ok; due, ok = s.Next() {
		if n := len(dues); n > 0 && due.At < dues[n-1].At {
			t.Fatalf("request %d is due at %s, before the one at %s", n, due.At, dues[n-1].At)
		}
		if part := s.Parts()[due.Part]; due.At < part.From || due.At > part.To {
			t.Fatalf("due at %s, outside its part %s to %s", due.At, part.From, part.To)
		}
		dues = append(dues, due)
	}
	return dues
}

func TestConstantRateIsEven(t *testing.T) {
	dues := all(t, Constant(250, 4*time.Second), 1)
	if len(dues) != 1000 {
		t.Fatalf("%d requests, want 1000", len(dues))
	}
	for i, due := range dues {
		if want := time.Duration(i) * 4 * time.Millisecond; (due.At - want).Abs() > time.Microsecond {
			t.Fatalf("request %d is due at %s, want %s", i, due.At, want)
		}
	}
}

func TestRampFollowsItsIntegral(t *testing.T) {
	spec, err := Ramp("100:300/10s")
	if err != nil {
		t.Fatal(err)
	}
	dues := all(t, spec, 1)
	if len(dues) != 2000 {
		t.Fatalf("%d requests, want 2000", len(dues))
	}
	for i, due := range dues {
		at := due.At.Seconds()
		if passed := 100*at + 10*at*at; math.Abs(passed-float64(i)) > 1e-3 {
			t.Fatalf("request %d is due when the integral is %v", i, passed)
		}
	}
	// down to nothing, and from nothing
	for _, text := range []string{"200:0/5s", "0:200/5s"} {
		spec, err := Ramp(text)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(all(t, spec, 1)); n != 500 {
			t.Errorf("%s: %d requests, want 500", text, n)
		}
	}
}

func TestStepsReachTheTopAndStay(t *testing.T) {
	spec, err := Steps("200:+200/10s:12000")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(spec.Stages); n != 60 || spec.Stages[0].From != 200 || spec.Stages[59].To != 12000 {
		t.Fatalf("%d stages from %v to %v", n, spec.Stages[0].From, spec.Stages[n-1].To)
	}
	spec, err = Steps("10:+10/1s:25")
	if err != nil {
		t.Fatal(err)
	}
	perPart := map[int]int{}
	for _, due := range all(t, spec, 1) {
		perPart[due.Part]++
	}
	if perPart[0] != 10 || perPart[1] != 20 || perPart[2] != 25 {
		t.Errorf("requests a stage: %v, want 10, 20, 25", perPart)
	}
	if down, err := Steps("30:-10/1s:10"); err != nil || len(down.Stages) != 3 {
		t.Errorf("down: %v, %v", down, err)
	}
}

func TestSineKeepsItsMeanAndSwings(t *testing.T) {
	spec, err := Sine("1000:500/2s", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	dues := all(t, spec, 1)
	if n := float64(len(dues)); math.Abs(n-10_000) > 20 {
		t.Errorf("%v requests in 5 periods of 2 s at 1000/s", n)
	}
	in := func(from, to time.Duration) (n int) {
		for _, due := range dues {
			if due.At >= from && due.At < to {
				n++
			}
		}
		return n
	}
	// Half a period above, half below: 1000 ± 500·2/π on average.
	if up, down := in(0, time.Second), in(time.Second, 2*time.Second); math.Abs(float64(up)-1318) > 10 || math.Abs(float64(down)-682) > 10 {
		t.Errorf("halves of a period have %d and %d requests, want 1318 and 682", up, down)
	}
}

func TestPoissonHasExponentialGapsAtAnyRate(t *testing.T) {
	spec := Constant(1000, 60*time.Second)
	spec.Poisson = true
	dues := all(t, spec, 7)
	if n := float64(len(dues)); math.Abs(n-60_000) > 5*math.Sqrt(60_000) {
		t.Fatalf("%v requests, want 60000 within five standard deviations", n)
	}
	gaps := make([]float64, 0, len(dues))
	for i := 1; i < len(dues); i++ {
		gaps = append(gaps, (dues[i].At-dues[i-1].At).Seconds()*1000)
	}
	slices.Sort(gaps)
	// Kolmogorov–Smirnov against Exp(1): 1.95/√n is the 0.1 % level.
	worst := 0.0
	for i, gap := range gaps {
		worst = max(worst, math.Abs(float64(i+1)/float64(len(gaps))-(1-math.Exp(-gap))))
	}
	if limit := 1.95 / math.Sqrt(float64(len(gaps))); worst > limit {
		t.Errorf("the gaps are %v from exponential, at most %v", worst, limit)
	}
	again := all(t, spec, 7)
	if !slices.Equal(dues, again) {
		t.Error("the same seed gave another schedule")
	}
	if slices.Equal(dues, all(t, spec, 8)) {
		t.Error("another seed gave the same schedule")
	}
}

func TestRateIsThatOfTheStage(t *testing.T) {
	spec := &Spec{Stages: []Stage{{Length: Duration(time.Second), From: 10, To: 10}, {Length: Duration(2 * time.Second), From: 10, To: 30}}}
	s, err := New(spec, 1)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]float64{0: 10, 999 * time.Millisecond: 10, 2 * time.Second: 20, 3 * time.Second: 0, time.Hour: 0} {
		if have := s.Rate(at); math.Abs(have-want) > 1e-9 {
			t.Errorf("at %s: %v, want %v", at, have, want)
		}
	}
	if s.Length() != 3*time.Second {
		t.Errorf("length %s", s.Length())
	}
}

func TestRecordedTimesAreReplayedInOrder(t *testing.T) {
	for name, text := range map[string]string{
		"seconds": "time,path\n10.5,/a\n10.0,/b\n\n# a comment\n11,/c\n",
		"stamps":  "2026-01-01T00:00:10.5Z\n2026-01-01T00:00:10Z\n2026-01-01T01:00:11+01:00\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "times")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			dues := all(t, &Spec{Recorded: file, Speed: 2}, 1)
			want := []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond}
			for i, due := range dues {
				if len(dues) != 3 || (due.At-want[i]).Abs() > time.Microsecond {
					t.Fatalf("have %v, want %v", dues, want)
				}
			}
		})
	}
}

func TestSpecsThatCannotBeAreRefused(t *testing.T) {
	second := Duration(time.Second)
	for want, spec := range map[string]*Spec{
		"there is none":          {},
		"not both":               {Recorded: "x", Stages: []Stage{{Length: second}}},
		"replayed as they are":   {Recorded: "x", Poisson: true},
		"length":                 {Stages: []Stage{{From: 1, To: 1}}},
		"rate -1":                {Stages: []Stage{{Length: second, From: -1}}},
		"rate NaN":               {Stages: []Stage{{Length: second, From: math.NaN()}}},
		"rate 2e+06":             {Stages: []Stage{{Length: second, From: 2e6}}},
		"make the rate negative": {Stages: []Stage{{Length: second, From: 5, To: 5, Swing: 6, Period: second}}},
		"a swing and a period":   {Stages: []Stage{{Length: second, From: 5, To: 5, Swing: 2}}},
		"at most 24h":            {Stages: []Stage{{Length: Duration(20 * time.Hour)}, {Length: Duration(20 * time.Hour)}}},
		"too short":              {Stages: []Stage{{Length: Duration(time.Hour), From: 5, To: 5, Swing: 1, Period: 1}}},
		"speed":                  {Stages: []Stage{{Length: second}}, Speed: math.Inf(1)},
	} {
		if _, err := New(spec, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: have %v, want %q", spec, err, want)
		}
	}
}

func TestTextsThatAreNoScheduleAreRefused(t *testing.T) {
	for _, text := range []string{"", "1", "1:2", "1:+1:3", "1:+0/1s:3", "1:-1/1s:3", "x:+1/1s:3", "1:+1/0s:3", "1:+1e-9/1s:3", "1:+1/1s:1e9", "NaN:+1/1s:3"} {
		if _, err := Steps(text); err == nil {
			t.Errorf("steps %q: no error", text)
		}
	}
	for _, text := range []string{"", "1", "1:2", "1:2/x", "1:2/-1s", "a:2/1s"} {
		if _, err := Ramp(text); err == nil {
			t.Errorf("ramp %q: no error", text)
		}
		if _, err := Sine(text, time.Second); err == nil {
			t.Errorf("sine %q: no error", text)
		}
	}
}

func TestDurationReadsWhatItWrites(t *testing.T) {
	data, err := json.Marshal(Duration(90 * time.Second))
	if err != nil || string(data) != `"1m30s"` {
		t.Fatalf("%s, %v", data, err)
	}
	var d Duration
	if err := json.Unmarshal(data, &d); err != nil || d != Duration(90*time.Second) {
		t.Fatalf("%v, %v", d, err)
	}
	if err := d.UnmarshalText([]byte("soon")); err == nil || !strings.Contains(err.Error(), "soon") {
		t.Errorf("have %v", err)
	}
}

func FuzzSteps(f *testing.F) {
	f.Add("200:+200/10s:12000")
	f.Add("10:-1/1s:0")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := Steps(text)
		if err != nil {
			return
		}
		if len(spec.Stages) > maxStages+2 {
			t.Fatalf("%d stages", len(spec.Stages))
		}
		_ = spec.Validate()
	})
}

func FuzzRecorded(f *testing.F) {
	f.Add("1\n2\n3")
	f.Add("time\n2026-01-01T00:00:10.5Z,x\n")
	f.Fuzz(func(t *testing.T, text string) {
		times, err := parseRecorded(strings.NewReader(text), 1)
		if err != nil {
			return
		}
		if len(times) == 0 || times[0] != 0 || !slices.IsSorted(times) {
			t.Fatalf("%v", times)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, poisson := range []bool{false, true} {
		b.Run(map[bool]string{false: "even", true: "poisson"}[poisson], func(b *testing.B) {
			b.ReportAllocs()
			spec := Constant(1e6, 24*time.Hour)
			spec.Poisson = poisson
			s, err := New(spec, 1)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s.Next()
			}
		})
	}
}
