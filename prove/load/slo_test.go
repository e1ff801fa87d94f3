package load

import (
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
)

// measured is a window of 1,000 requests: 985 good within 1 to 985 ms, 5 time-outs after a second, 10 refused at once.
func measured() *Window {
	w := &Window{Seconds: 10, Due: 1000, OK: 985, Good: 985, Failed: map[Class]uint64{ClassTimeout: 5, ClassRefused: 10}, Latency: new(hdr.Histogram), Service: new(hdr.Histogram), Rejected: new(hdr.Histogram)}
	for i := range int64(985) {
		w.Latency.Record((i + 1) * 1e6)
		w.Service.Record(1e6)
	}
	for range 5 {
		w.Latency.Record(1000e6)
		w.Service.Record(1000e6)
	}
	w.Rejected.RecordN(1e5, 10)
	return w
}

func TestObjectivesAreHeldAgainstWhatWasMeasured(t *testing.T) {
	for text, want := range map[string]Verdict{
		"p50<600ms": VerdictPass, "p50<400ms": VerdictFail, "p99.5<=986ms": VerdictFail,
		"service.p50<2ms": VerdictPass, "latency.p50<2ms": VerdictFail, "rejected.p90<1ms": VerdictPass, "rejected.p90 < 10us": VerdictFail,
		"max<1s": VerdictFail, "max<=1s": VerdictPass, "min<=1ms": VerdictPass, "mean<600ms": VerdictPass,
		"errors<1.5%": VerdictFail, "errors<=1.5%": VerdictPass, "errors<0.02": VerdictPass, "errors.timeout<0.1%": VerdictFail, "errors.status<=0%": VerdictPass,
		"rate>98": VerdictPass, "rate>98.5": VerdictFail, "rate>=98.5/s": VerdictPass,
		"p99.99<1m": VerdictInconclusive, "rejected.p99<1ms": VerdictInconclusive,
	} {
		s, err := ParseSLO(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if r := s.Judge(measured()); r.Verdict != want || r.Unit == "" || r.Verdict == VerdictInconclusive != (r.Reason != "") {
			t.Errorf("%s: %+v, want %s", text, r, want)
		}
	}
}

func TestNothingMeasuredIsInconclusive(t *testing.T) {
	for _, text := range []string{"p50<1s", "errors<1%", "rate>1", "max<1s"} {
		s, err := ParseSLO(text)
		if err != nil {
			t.Fatal(err)
		}
		if r := s.Judge(&Window{Seconds: 1}); r.Verdict != VerdictInconclusive {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

func TestOneObjectiveThatFailsDecides(t *testing.T) {
	for want, texts := range map[Verdict][]string{
		VerdictNone:         nil,
		VerdictPass:         {"max<2s", "errors<5%"},
		VerdictFail:         {"p99.99<1m", "max<1ms", "errors<5%"},
		VerdictInconclusive: {"max<2s", "p99.99<1m", "errors<5%"},
	} {
		if _, verdict := judge(objectives(&Plan{SLO: texts}), measured()); verdict != want {
			t.Errorf("%q: %s, want %s", texts, verdict, want)
		}
	}
}

func TestTextsThatAreNoObjectiveAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "no objective", "p99": "no objective", "<5ms": "no objective", "p99<": "no duration", "p99<5": "no duration", "p99>5ms": "has to be below",
		"p0<1s": "no percentile", "p100<1s": "no percentile", "pNaN<1s": "no percentile", "p99<-1s": "no answer takes", "q99<1s": "no figure",
		"errors<x": "no share", "errors<101%": "no share", "errors<NaN": "no share", "errors>1%": "have to be below", "rate<5": "has to be above", "rate>-1": "no number", "rate>Inf": "no number",
		"errors.lost<1%": "no class", "service.errors<1%": "no figure",
	} {
		if _, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: have %v, want %q", text, err, want)
		}
	}
}

func FuzzParseSLO(f *testing.F) {
	for _, seed := range []string{"p99<50ms", "errors.timeout<=0.1%", "rate>990/s", "service.mean<1s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSLO(text)
		if err != nil {
			return
		}
		s.Judge(measured())
		s.Judge(&Window{})
		p := DefaultPlan()
		s.possible(&p)
		if again, err := ParseSLO(s.String()); err != nil || again != s {
			t.Fatalf("%q reads as %+v, then as %+v, %v", text, s, again, err)
		}
	})
}

// FuzzWebSocket feeds the reader of frames.
func FuzzWebSocket(f *testing.F) {
	f.Add([]byte{0x81, 0x02, 'o', 'k'})
	f.Add([]byte{0x01, 0x01, 'o', 0x89, 0x00, 0x80, 0x01, 'k', 0x88, 0x02, 0x03, 0xe8})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := DefaultPlan()
		p.MaxBody = 1 << 10
		s := &step{name: "x"}
		r := &run{plan: &p, steps: []*step{s}, clock: newClock(), stats: newStats([]int64{1 << 60}, []*step{s}, 4, time.Second, time.Second)}
		w := &webSocket{u: &user{run: r, stripe: r.stats.stripes[0]}, arrived: make(chan error, 1)}
		if err := w.readAll(sink{}, reader(data)); err == nil {
			t.Fatal("the end of the connection was not told")
		}
	})
}
