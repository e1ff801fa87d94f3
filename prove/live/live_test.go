package live

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
)

var update = flag.Bool("update", false, "rewrite the golden frames")

// spread is a histogram of n latencies with the median given, and a tail.
func spread(n int, median time.Duration) *hdr.Histogram {
	h := new(hdr.Histogram)
	r := rand.New(rand.NewPCG(1, 2)) // always the same: frames are compared
	for range n {
		h.Record(int64(float64(median) * math.Exp(0.4*r.NormFloat64())))
	}
	h.RecordN(int64(40*median), uint64(n/300))
	return h
}

func steady() load.Progress {
	p := load.Progress{
		Elapsed: 38400 * time.Millisecond, Total: 100 * time.Second, Phase: "2,400/s", Rate: 2400,
		InFlight: 3, Connected: 64,
		Last: load.Interval{From: 37, Done: 2398, LateMax: 0.2, InFlight: 3, Window: load.Window{Seconds: 1, Due: 2400, OK: 2398, BytesIn: 1_234_567, BytesOut: 345_678,
			Latency: spread(2398, 1250*time.Microsecond), Service: spread(2398, 1100*time.Microsecond)}},
		Sum: load.Window{Seconds: 38, Due: 91_200, OK: 91_190, Latency: spread(91_190, 1300*time.Microsecond), Service: spread(91_190, 1150*time.Microsecond),
			Status: map[string]uint64{"200": 91_190}},
	}
	for i := range 38 {
		p.Done = append(p.Done, min(float64(200*(i+1)), 2398-float64(i%3)))
		p.P99 = append(p.P99, 3+float64(i%5)/4)
	}
	p.P99[20] = 1020
	return p
}

// stalled is a run in which the target stalls: the corrected latencies show it, the uncorrected ones do not.
func stalled() load.Progress {
	p := steady()
	p.Phase = "step 5 of 9: 1,000/s"
	p.Waiting, p.InFlight = 1532, 64
	p.Done[37] = 480
	p.P99[37] = 1900
	p.Last.Done, p.Last.Late, p.Last.LateMax = 480, true, 14.2
	p.Last.Latency = spread(480, 900*time.Millisecond)
	p.Sum.Latency.Add(p.Last.Latency)
	p.LateNow, p.LateSum = true, 2
	p.Sum.Failed = map[load.Class]uint64{load.ClassTimeout: 1532, load.ClassStatus: 12, load.ClassRefused: 3, load.ClassLocal: 1}
	p.Sum.Status = map[string]uint64{"200": 91_190, "503": 12}
	return p
}

func searching() load.Progress {
	return load.Progress{Elapsed: 3720 * time.Second, Phase: "search 400/s", Rate: 400, Connected: 8,
		Sum: load.Window{OK: 9, Latency: spread(9, 40*time.Microsecond)}, P99: []float64{0, math.NaN(), 0.04}, Done: []float64{3, 3, 3}, LateSum: 1}
}

func options() Options {
	return Options{Target: "http://127.0.0.1:8080/v1/predict", Protocol: load.HTTP1, Loop: load.OpenLoop}
}

func result() *load.Result {
	p := stalled()
	return &load.Result{
		Seconds: 100, End: load.EndInterrupted, Target: "http://127.0.0.1:8080", Protocol: load.HTTP1, Loop: load.OpenLoop,
		Client: load.Client{CPUPerRequest: 8.4},
		Total: load.Window{Seconds: 100, Due: 93_000, OK: 91_190, Failed: p.Sum.Failed, Unfinished: 262, Status: p.Sum.Status, Latency: p.Sum.Latency, Service: p.Sum.Service,
			BytesIn: 123_456_789, BytesOut: 34_567_890, Connects: 67, Rejected: spread(400, time.Millisecond), Connect: spread(67, 180*time.Microsecond)},
		Judged: load.Window{Seconds: 98, Latency: spread(90_000, 1300*time.Microsecond)},
		Stages: []load.Stage{
			{Name: "200/s", Rate: 200, Window: load.Window{Seconds: 10, Due: 2000, OK: 2000, Latency: spread(2000, time.Millisecond)}},
			{Name: "400/s", From: 10, Rate: 400, Window: load.Window{Seconds: 10, Due: 4000, OK: 3990, Failed: map[load.Class]uint64{load.ClassTimeout: 10}, Latency: spread(4000, 2*time.Millisecond)}},
			{Name: "600/s", From: 20, Rate: 600},
		},
		Requests: []load.RequestResult{
			{Name: "POST /v1/predict", Window: load.Window{Seconds: 100, Due: 80_000, OK: 80_000, Latency: spread(8000, time.Millisecond)}},
			{Name: "GET /v1/models/{{name}}/versions/of/a/very/long/name", Window: load.Window{Seconds: 100, Due: 13_000, OK: 11_190, Failed: map[load.Class]uint64{load.ClassStatus: 12}}},
		},
		LateSeconds: 2,
		SLO: []load.SLOResult{
			{SLO: "p99<50ms", Value: 12.3, Bound: 50, Unit: "ms", Verdict: load.VerdictPass},
			{SLO: "errors<0.1%", Value: 0.0166, Bound: 0.001, Unit: "share", Verdict: load.VerdictFail},
			{SLO: "rate>990", Value: 912, Bound: 990, Unit: "rps", Verdict: load.VerdictInconclusive, Reason: "2 of 100 s late"},
		},
		Verdict: load.VerdictFail,
		Notes:   []string{"1 request failed for want of a descriptor; raise the limit with ulimit -n, or ask for fewer connections than the 64 of this plan"},
		Errors: []load.ErrorSample{{Class: load.ClassTimeout, At: 12.3, Request: "POST /v1/predict", Message: "no answer within 5s"},
			{Class: load.ClassStatus, At: 13, Request: "POST /v1/predict", Message: "503: \x1b[2Jshed\nload"}},
	}
}

func searched() *load.Result {
	r := &load.Result{Seconds: 48, End: load.EndFinished, Target: "grpc://127.0.0.1:9000", Protocol: load.GRPC, Loop: load.OpenLoop, Verdict: load.VerdictNone,
		Breakpoint: &load.Breakpoint{Rate: 960, Above: 1000, Precision: 0.0417, Limit: "slo"}}
	for i, v := range []load.Verdict{load.VerdictPass, load.VerdictFail, load.VerdictInconclusive} {
		rate := float64(400 * (i + 1))
		r.Breakpoint.Trials = append(r.Breakpoint.Trials, load.Trial{Rate: rate, Verdict: v, Phase: "search", Window: load.Window{Seconds: 4, OK: uint64(4 * rate), Latency: spread(400, time.Duration(i+1)*time.Millisecond)}})
	}
	r.Breakpoint.Trials[1].Reason = "p99<50ms"
	return r
}

func rendered(lines []line, color bool) string {
	var b strings.Builder
	for _, l := range lines {
		l.trim().write(&b, color)
		b.WriteByte('\n')
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, "\x1b", "␛") // so that a look at the file changes no terminal
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\nif that is how it should be: go test ./prove/live -update", path, got, want)
	}
}

func TestFramesAreAsTheyWere(t *testing.T) {
	opt := options()
	for name, p := range map[string]load.Progress{"steady": steady(), "stalled": stalled(), "searching": searching(), "zero": {}} {
		recent := map[load.Class]uint64{load.ClassTimeout: 400, load.ClassStatus: 1}
		for _, size := range [][2]int{{60, 50}, {100, 50}, {160, 50}, {80, 23}} {
			golden(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), rendered(frame(&opt, &p, recent, size[0], size[1]), false))
		}
		golden(t, name+"-color", rendered(frame(&opt, &p, recent, 100, 50), true))
	}
}

func TestSummariesAreAsTheyWere(t *testing.T) {
	opt := options()
	for name, r := range map[string]*load.Result{"run": result(), "search": searched(), "nothing": {}} {
		for _, width := range []int{60, 100, 160} {
			golden(t, fmt.Sprintf("summary-%s-%d", name, width), rendered(summary(&opt, r, width), false))
		}
		golden(t, "summary-"+name+"-color", rendered(summary(&opt, r, 100), true))
	}
}

// TestNoLineIsWiderThanTheTerminal, nor is there one too many, at any size and with the worst of values.
func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	worst := worstProgress()
	long := options()
	long.Target = strings.Repeat("http://例え.test/目的/", 40)
	for name, p := range map[string]load.Progress{"steady": steady(), "stalled": stalled(), "searching": searching(), "zero": {}, "worst": worst} {
		for _, opt := range []Options{options(), long} {
			for width := 1; width < 200; width += 1 + width/20 {
				for _, height := range []int{0, 1, 7, 24, 60} {
					lines := frame(&opt, &p, p.Sum.Failed, width, height)
					if len(lines) > height {
						t.Errorf("%s at %d × %d: %d lines", name, width, height, len(lines))
					}
					checkLines(t, fmt.Sprintf("%s at %d × %d", name, width, height), lines, width)
				}
			}
		}
	}
	for name, r := range map[string]*load.Result{"run": result(), "search": searched(), "nothing": {}, "worst": worstResult()} {
		for width := 1; width < 200; width += 1 + width/20 {
			checkLines(t, fmt.Sprintf("summary %s at %d", name, width), summary(&long, r, width), width)
		}
	}
}

func checkLines(t *testing.T, name string, lines []line, width int) {
	t.Helper()
	for _, l := range lines {
		s := rendered([]line{l}, false)
		if got := cells(strings.TrimSuffix(s, "\n")); got > width {
			t.Fatalf("%s: %d cells: %q", name, got, s)
		}
		if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || strings.ContainsAny(strings.TrimSuffix(s, "\n"), "\x1b\n\r") {
			t.Fatalf("%s: %q", name, s)
		}
	}
}

func worstProgress() load.Progress {
	nan, inf := math.NaN(), math.Inf(1)
	h := new(hdr.Histogram)
	h.Record(0)
	h.RecordN(math.MaxInt64, math.MaxUint64/hdr.MaxValue-1)
	w := load.Window{Seconds: nan, Due: math.MaxUint64, OK: math.MaxUint64, Latency: h, Service: h, BytesIn: math.MaxUint64, BytesOut: math.MaxUint64,
		Failed: map[load.Class]uint64{load.ClassReset: math.MaxUint64, "\x1b[31m": 1, load.ClassLocal: 0}, Status: map[string]uint64{"\x1b": 1, "200": math.MaxUint64}}
	return load.Progress{Elapsed: math.MaxInt64, Total: -1, Phase: "\x1b[2J\n" + strings.Repeat("x", 300), Rate: inf, InFlight: -5, Connected: -1, Waiting: math.MaxUint64,
		Last: load.Interval{From: nan, Late: true, LateMax: inf, InFlight: -1, Window: load.Window{Seconds: 1e-300, Latency: h, BytesIn: math.MaxUint64}},
		Sum:  w, Done: []float64{nan, inf, -inf, -1, 1e300, 0}, P99: []float64{nan, inf, -inf, -1, 1e300, 1e-300}, LateNow: true, LateSum: 1e300}
}

func worstResult() *load.Result {
	p := worstProgress()
	nan := math.NaN()
	r := &load.Result{Seconds: nan, End: "\x1b", Target: "\x1b\n", Loop: "\x1b", Total: p.Sum, Judged: p.Sum, LateSeconds: math.Inf(1), Verdict: "\x1b", Notes: []string{"", "\x1b\n" + strings.Repeat("long ", 50), strings.Repeat("目", 300)},
		SLO:        []load.SLOResult{{SLO: "\x1b", Value: nan, Unit: "\x1b"}, {Value: math.Inf(-1), Unit: "ms"}, {Value: 1e300, Unit: "rps"}, {Value: -1, Unit: "share"}},
		Errors:     []load.ErrorSample{{Class: "\x1b", At: nan, Request: "\x1b", Message: "\x1b\r\n"}},
		Breakpoint: &load.Breakpoint{Rate: nan, Above: nan, Precision: nan, Limit: "\x1b"}}
	for range 50 {
		r.Stages = append(r.Stages, load.Stage{Name: "\x1b\n", Rate: nan, Window: p.Sum})
		r.Requests = append(r.Requests, load.RequestResult{Name: "", Window: p.Sum})
		r.Breakpoint.Trials = append(r.Breakpoint.Trials, load.Trial{Rate: math.Inf(1), Verdict: "?", Reason: "\x1b", Phase: "\x1b", Window: p.Sum})
	}
	return r
}

func TestPlainWritesALineASecond(t *testing.T) {
	var out bytes.Buffer
	opt := options()
	opt.Plain, opt.Color = true, true
	v := New(&out, opt)
	p := steady()
	for i := range 5 * 32 {
		p.Elapsed = time.Duration(i) * 200 * time.Millisecond
		if i == 13 {
			p.Sum.Failed = map[load.Class]uint64{load.ClassTimeout: 12, load.ClassReset: 1}
		}
		if i == 21 {
			p.Sum.Failed = map[load.Class]uint64{load.ClassTimeout: 15, load.ClassReset: 1}
			p.Last.Late, p.Last.LateMax = true, 14.2
		}
		if i == 26 {
			p.Last.Late = false
		}
		v.Show(p)
	}
	if err := v.Close(result()); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	golden(t, "plain", got)
	if strings.Contains(got, "\x1b") {
		t.Error("plain output has escape codes")
	}
	if n := strings.Count(got, "\nt="); n != 31 {
		t.Errorf("%d lines in 31 seconds", n)
	}
	if strings.Count(got, "conns=64 reset=1 timeout=12\n") != 1 || strings.Count(got, "conns=64 timeout=3 generator_late=14.2ms\n") != 1 || strings.Count(got, "timeout=") != 2 {
		t.Error("failures are not on the line of the second in which they came up")
	}
	if strings.Count(got, "# t: ") != 2 {
		t.Error("the header comes at the start and after 30 lines")
	}
}

// TestTheScreenShowsTheLastFrame draws frames on an emulated terminal: a high one that changes its width, and a low
// one. (What a change of width scrolls out of a low one is out of reach.)
func TestTheScreenShowsTheLastFrame(t *testing.T) {
	for _, c := range []struct {
		height int
		widths []int
	}{{100, []int{100, 70, 160, 90}}, {24, []int{80}}, {8, []int{60}}, {2, []int{30}}} {
		t.Run(fmt.Sprint(c.height), func(t *testing.T) {
			s := &screen{width: c.widths[0], height: c.height}
			opt := options()
			opt.Color = true
			opt.Size = func() (int, int) { return s.width, s.height }
			v := New(s, opt)
			if _, err := s.Write([]byte("$ dougong load\r\n")); err != nil {
				t.Fatal(err)
			}
			for i, p := range []load.Progress{{}, steady(), stalled(), steady(), searching(), stalled(), {}} {
				for _, width := range c.widths {
					s.resize(width)
					writes := s.writes
					v.Show(p)
					if s.writes != writes+1 {
						t.Fatalf("a frame took %d writes", s.writes-writes)
					}
					want := rendered(frame(&opt, &p, v.recent, width, c.height-1), false)
					if got := s.text(); got != "$ dougong load\n"+want {
						t.Fatalf("frame %d at width %d: screen\n%s\nwant\n%s", i, width, got, want)
					}
					if !s.hidden || s.nowrap {
						t.Fatalf("cursor hidden %v, wrapping off %v", s.hidden, s.nowrap)
					}
				}
			}
			if err := v.Close(searched()); err != nil {
				t.Fatal(err)
			}
			if s.hidden {
				t.Error("the cursor is still hidden")
			}
			want := "$ dougong load\n" + rendered(summary(&opt, searched(), s.width), false)
			if got := s.text(); got != want {
				t.Errorf("screen\n%s\nwant\n%s", got, want)
			}
			v.Show(steady())
			if v.Close(result()) != nil || s.text() != want {
				t.Error("a closed view still writes")
			}
		})
	}
}

func TestCloseWithoutAResultGivesTheCursorBack(t *testing.T) {
	s := &screen{width: 80, height: 24}
	v := New(s, options())
	v.Show(steady())
	if !s.hidden {
		t.Error("the cursor is not hidden")
	}
	if err := v.Close(nil); err != nil {
		t.Fatal(err)
	}
	if s.hidden || strings.TrimSpace(s.text()) != "" {
		t.Errorf("cursor hidden %v, screen %q", s.hidden, s.text())
	}
	var untouched bytes.Buffer
	if err := New(&untouched, options()).Close(nil); err != nil || untouched.Len() != 0 {
		t.Errorf("a view that showed nothing wrote %q, error %v", untouched.String(), err)
	}
}

func TestWithoutColorThereAreNone(t *testing.T) {
	for _, color := range []bool{false, true} {
		var out bytes.Buffer
		opt := options()
		opt.Color = color
		v := New(&out, opt)
		v.Show(stalled())
		if err := v.Close(result()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "\x1b[38;5;"); got != color {
			t.Errorf("Color %v: colours %v", color, got)
		}
	}
}

type brokenWriter struct{ left int }

var errBroken = errors.New("broken pipe")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestErrorsOfTheWriterComeOutOfClose(t *testing.T) {
	for left := range 3 {
		v := New(&brokenWriter{left: left}, options())
		v.Show(steady())
		v.Show(stalled())
		if err := v.Close(result()); !errors.Is(err, errBroken) {
			t.Errorf("after %d good writes: %v", left, err)
		}
	}
}

func TestShowAndCloseAtTheSameTime(t *testing.T) {
	var out bytes.Buffer
	v := New(&out, options())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			p := steady()
			for range 50 {
				v.Show(p)
				p.Elapsed += time.Second
			}
		})
		all.Go(func() { _ = v.Close(result()) })
	}
	all.Wait()
	if got := out.String(); strings.Count(got, hideCursor) != strings.Count(got, showCursor) || strings.Count(got, "verdict") != 1 {
		t.Errorf("hidden %d times, shown %d times, %d summaries", strings.Count(got, hideCursor), strings.Count(got, showCursor), strings.Count(got, "verdict"))
	}
}

func TestDetect(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	opt := Detect(f, env("TERM", "xterm-256color"))
	if !opt.Plain || !opt.Color {
		t.Errorf("a file: %+v", opt)
	}
	if w, h := opt.size(); w != 80 || h != 24 {
		t.Errorf("a file is %d × %d", w, h)
	}
	if Detect(f, env("NO_COLOR", "1")).Color {
		t.Error("colour in spite of NO_COLOR")
	}
}
