package fault

import (
	"flag"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/fault/effect"
)

var runsFlag = flag.Int("runs", 0, "real runs of TestRealDelaysAreReportedAsTheyAre; 0: 1, or 100 with DOUGONG_LONG")

// The whole way, on a real process: 5 ms added to a handler that takes 2 ms are reported within 5 %, with an interval
// that covers them, and nothing is claimed where nothing was done. Package effect has the simulations, thousands of
// runs; this shows that load, rules, windows and clocks keep what those promise. One run says little about shares, so
// without DOUGONG_LONG only what is far off fails.
func TestRealDelaysAreReportedAsTheyAre(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	runs, window := *runsFlag, 600*time.Millisecond
	if runs == 0 {
		if runs = 1; long() {
			runs = 100
		}
	}
	if long() {
		window = time.Second
	}
	const truth = 5.0
	near, covered, claimed, falseAlarms, latencyAlarms := 0, 0, 0, 0, 0
	for n := range runs {
		p := ownProcess()
		p.Control, p.Pairs, p.Window, p.Load.Rate = true, 8, Duration(window), 200
		p.Faults = []Fault{{Name: "5 ms", Rule: delay(5 * time.Millisecond)}}
		result, err := Run(t.Context(), p, Options{Journal: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		control, slow := &result.Rows[0], &result.Rows[1]
		d := &slow.Effect.P50
		within := d.Value >= 0.95*truth && d.Value <= 1.05*truth
		covers := d.Low <= truth && truth <= d.High
		t.Logf("run %d: p50 %+.3f ms (%.3f to %.3f), within 5 %%: %v, covered: %v, claims %v; control %+.3f ms (%.3f to %.3f), claims %v", n+1, d.Value, d.Low, d.High, within, covers, slow.Effect.Claims,
			control.Effect.P50.Value, control.Effect.P50.Low, control.Effect.P50.High, control.Effect.Claims)
		near += side(within)
		covered += side(covers)
		claimed += side(d.Claimed)
		falseAlarms += side(control.Effect.Verdict == effect.Claimed)
		latencyAlarms += side(control.Effect.P50.Claimed)
		if d.Value < 0.7*truth || d.Value > 1.6*truth || slow.Hits == 0 || slow.Detect.Seen > 0 {
			t.Error(line(slow))
		}
	}
	t.Logf("of %d runs: %d within 5 %%, %d covered, %d claimed; %d false alarms (%d of p50)", runs, near, covered, claimed, falseAlarms, latencyAlarms)
	if runs >= 100 && (near < runs*95/100 || covered < runs*95/100 || claimed < runs || falseAlarms > runs*5/100) {
		t.Error("this is not what is promised")
	}
}
