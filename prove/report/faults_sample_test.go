package report

import (
	"time"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/hdr"
)

// sampleFaults has a row of each kind that reads differently.
func sampleFaults() *fault.Result {
	window := func(ms float64, errors uint64) effect.Window {
		w := effect.Window{Latency: new(hdr.Histogram), Sent: 400, Answered: 400 - errors, Errors: errors}
		w.Latency.RecordN(int64(ms*1e6), 400-errors)
		return w
	}
	known := func(off, on, value, low, high float64, claimed bool) effect.Difference {
		return effect.Difference{Known: true, Pairs: 8, Off: off, On: on, Value: value, Low: low, High: high, P: map[bool]float64{true: 0.0078125, false: 0.8}[claimed], Claimed: claimed}
	}
	nothing := known(0, 0, 0, -0.0016, 0.0016, false)
	quiet := effect.Effect{
		Verdict: effect.NotClaimed, Claims: []effect.Measure{}, Pairs: 8, P50: known(2, 1.99, -0.01, -0.043, 0.026, false), P99: known(4.1, 4.2, 0.1, -0.32, 0.41, false),
		Timeouts: nothing, Errors: known(0.0003125, 0.0006, 0.0003, -0.002, 0.0026, false), Degraded: nothing, Lost: nothing,
	}
	slow := quiet
	slow.Verdict, slow.Claims, slow.P50, slow.P99 = effect.Claimed, []effect.Measure{effect.P50, effect.P99}, known(2, 7.01, 5.012, 4.961, 5.062, true), known(4.1, 9.2, 5.1, 4.7, 5.6, true)
	hang := quiet
	hang.Verdict, hang.Claims = effect.Claimed, []effect.Measure{effect.P50, effect.Timeouts, effect.Lost}
	hang.P50, hang.P99 = known(2, 1000, 998, 998, 998.5, true), effect.Difference{}
	hang.P50.AtLeast = true
	hang.Timeouts, hang.Lost = known(0, 0.707, 0.707, 0.669, 0.745, true), known(0, 1, 1, 0.997, 1, true)
	alarm := quiet
	alarm.Verdict, alarm.Claims = effect.Claimed, []effect.Measure{effect.Errors}
	few := quiet
	few.Verdict, few.Pairs = effect.TooFew, 3
	never := quiet
	never.Verdict = effect.NeverHit

	seen := fault.Reactions{Tries: 8, Seen: 7, Seconds: []float64{0.3, 0.3, 0.35, 0.35, 0.4, 0.4, 0.45}, Median: 0.35, Worst: 0.45, Bound: 3.5, By: []string{"state Degraded", "circuit open"}, Step: 0.05}
	unseen := fault.Reactions{Tries: 8, Seconds: []float64{}, Bound: 20, Step: 0.05}
	plan := fault.DefaultPlan()
	plan.Name, plan.Load.Target, plan.Load.Rate = "inference | faults", "http://127.0.0.1:8080/v1/predict", 1250.5
	return &fault.Result{
		Schema: fault.ResultSchema, Version: "v0.1.0", Run: "f1", Started: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC), Seconds: 190, End: fault.EndBroken,
		Reason: "the target did not come back", Seed: 20, Machine: fault.Machine{OS: "linux", Arch: "amd64", CPUs: 8, Go: "go1.26.8"}, Plan: &plan,
		Rows: []fault.Row{
			{Name: "control", Kind: fault.KindControl, Detail: "nothing is done", Status: fault.StatusMeasured, Pairs: 8, Effect: quiet, Windows: []fault.Window{
				{Pair: 0, On: true, From: 4, To: 7, Whole: true, Counts: window(2, 0)}, {Pair: 0, From: 7.5, To: 10.5, Whole: true, Counts: window(2, 1)},
			}},
			{Name: "slow scoring", Kind: fault.KindRule, Detail: "delay 5ms at inference.score", Service: "inference", Status: fault.StatusMeasured, Pairs: 8, Effect: slow, Hits: 12_800, Detect: unseen, Recover: seen,
				Windows: []fault.Window{
					{Pair: 0, From: 11, To: 14, Whole: true, Counts: window(2, 0)},
					{Pair: 0, On: true, From: 14.5, To: 17.5, Applied: 14.4, Lifted: 17.6, Whole: true, Hits: 400, Counts: window(7, 3)},
					{Pair: 1, On: true, From: 18, To: 19, Applied: 17.9, Why: "the generator itself was late", Counts: effect.Window{}},
				}},
			{Name: "hang", Kind: fault.KindRule, Detail: "hang at inference.body", Status: fault.StatusMeasured, Pairs: 8, Effect: hang, Hits: 9, Detect: seen, Recover: unseen, Windows: []fault.Window{}},
			{Name: "nobody comes", Kind: fault.KindRule, Detail: "panic at inference.reload", Status: fault.StatusNotHit, Reason: "the rule was on and hit nothing", Pairs: 8, Effect: never, Windows: []fault.Window{}},
			{Name: "short", Kind: fault.KindStop, Detail: "SIGSTOP", Status: fault.StatusMeasured, Pairs: 3, Effect: few, Hits: 3, Died: 2, Windows: []fault.Window{}},
			{Name: "little memory", Kind: fault.KindMemory, Detail: "limit of 32 MiB", Status: fault.StatusRefused, Reason: "needs root", Effect: effect.Compare(nil, false), Windows: []fault.Window{}},
			{Name: "false alarm", Kind: fault.KindControl, Detail: "nothing is done", Status: fault.StatusMeasured, Pairs: 8, Effect: alarm, Windows: []fault.Window{}},
		},
		Timeline: []fault.Point{
			{At: 0, Due: 1250, OK: 1250, P50: 2, P99: 4.1}, {At: 1, Due: 1250, OK: 1240, Errors: 10, P50: 7, P99: 9.2}, {At: 2, Due: 0},
			{At: 3, Due: 1250, OK: 250, Timeouts: 1000, P50: 1000, P99: 1000, Late: true}, {At: 4, Due: 1250, OK: 1250, Degraded: 25, P50: 2, P99: 4.2},
		},
		Events: []fault.Event{{At: 14.4, Fault: "slow scoring", Kind: "fault on", Text: "the rule was put"}, {At: 17.6, Fault: "slow scoring", Kind: "fault off", Text: "the rule was deleted"}},
		Notes:  []string{"The generator was late by up to 31.0 ms in 1 of 190 s."}, PointSeconds: 1,
	}
}
