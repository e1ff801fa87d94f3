package report_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/hdr"
)

// trial is a fault of a made-up run, and what becomes of a request that takes ms without it.
type trial struct {
	name, detail string
	kind         fault.Kind
	status       fault.Status
	reason       string
	with         func(rnd *rand.Rand, ms float64, r *fate) float64
	detect       float64 // seconds until the service says so; 0 is never
	recover      float64
}

type fate struct{ timeout, failed, degraded, lost bool }

var trials = []trial{
	{name: "control", detail: "nothing is done", kind: fault.KindControl},
	{name: "slow scoring", detail: "delay fixed 5ms at inference.score", kind: fault.KindRule, recover: 0.1,
		with: func(_ *rand.Rand, ms float64, _ *fate) float64 { return ms + 5 }},
	{name: "every fifth fails", detail: "error unavailable at inference.score, probability 0.2", kind: fault.KindRule, detect: 0.35, recover: 1.2,
		with: func(rnd *rand.Rand, ms float64, r *fate) float64 {
			r.failed = rnd.Float64() < 0.2
			r.degraded = !r.failed && rnd.Float64() < 0.3
			return ms
		}},
	{name: "hang", detail: "hang at inference.body, probability 0.7", kind: fault.KindRule, detect: 0.9, recover: 2.1,
		with: func(rnd *rand.Rand, ms float64, r *fate) float64 {
			if r.timeout = rnd.Float64() < 0.7; r.timeout {
				r.lost = true
				return 1000
			}
			return ms
		}},
	{name: "a quarter of a processor", detail: "quota of 0.25 processors", kind: fault.KindCPU, recover: 0.5,
		with: func(rnd *rand.Rand, ms float64, _ *fate) float64 {
			if rnd.Float64() < 0.3 {
				ms += 75 * rnd.Float64()
			}
			return 1.2 * ms
		}},
	{name: "nobody comes", detail: "panic at inference.reload", kind: fault.KindRule, status: fault.StatusNotHit, reason: "the rule was on and hit nothing"},
	{name: "little memory", detail: "limit of 32 MiB", kind: fault.KindMemory, status: fault.StatusRefused, reason: "memory limit: the control group /sys/fs/cgroup/memory is not writable; run as root"},
	{name: "kill", detail: "SIGKILL", kind: fault.KindKill, detect: 0.05, recover: 1.4,
		with: func(rnd *rand.Rand, ms float64, r *fate) float64 {
			r.failed = rnd.Float64() < 0.15
			r.lost = r.failed
			return ms
		}},
}

// faultsRun makes up a run of all trials: 200 requests a second, eight pairs of windows of 2 s each.
func faultsRun() *fault.Result {
	const rate, pairs, length, guard, each = 200, 8, 2.0, 0.5, 0.5
	rnd := rand.New(rand.NewPCG(seed, 1))
	plan := fault.DefaultPlan()
	plan.Name, plan.Load.Target, plan.Load.Rate, plan.Pairs, plan.Window = "inference under faults", "http://127.0.0.1:8080/v1/predict", rate, pairs, fault.Duration(2*time.Second)
	r := &fault.Result{
		Schema: fault.ResultSchema, Version: "v0.1.0", Run: "f-2026-11-20-a1b2", Started: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC), End: fault.EndFinished, Seed: seed,
		Machine: fault.Machine{OS: "linux", Arch: "amd64", CPUs: 8, Go: "go1.26.8"}, Plan: &plan, PointSeconds: each,
		Notes: []string{"The generator was late by up to 31.0 ms in 1 of 190 s."}, Events: []fault.Event{},
	}
	now := 0.0
	// run offers load for so many seconds and counts it.
	run := func(seconds float64, with func(*rand.Rand, float64, *fate) float64) effect.Window {
		all := effect.Window{Latency: new(hdr.Histogram)}
		for end := now + seconds; now < end-1e-9; now += each {
			h := new(hdr.Histogram)
			p := fault.Point{At: now, Due: rate * each}
			for range p.Due {
				ms, done := 2*math.Exp(0.3*rnd.NormFloat64()), fate{failed: rnd.Float64() < 0.001}
				if with != nil {
					ms = with(rnd, ms, &done)
				}
				all.Sent++
				switch {
				case done.timeout:
					p.Timeouts++
				case done.failed:
					p.Errors++
				default:
					p.OK++
				}
				if done.degraded {
					p.Degraded++
				}
				if done.lost {
					all.Lost++
				}
				if !done.failed {
					h.Record(int64(ms * 1e6))
				}
			}
			p.P50, p.P99 = float64(h.Quantile(0.5))/1e6, float64(h.Quantile(0.99))/1e6
			p.Late = len(r.Timeline) == 77
			all.Latency.Add(h)
			all.Timeouts, all.Errors, all.Degraded, all.Answered = all.Timeouts+p.Timeouts, all.Errors+p.Errors, all.Degraded+p.Degraded, all.Answered+p.OK
			r.Timeline = append(r.Timeline, p)
		}
		return all
	}
	run(4, nil)
	for _, f := range trials {
		row := fault.Row{Name: f.name, Kind: f.kind, Detail: f.detail, Status: cmp.Or(f.status, fault.StatusMeasured), Reason: f.reason, Windows: []fault.Window{}}
		if row.Status == fault.StatusRefused {
			row.Effect = effect.Compare(nil, false)
			r.Rows = append(r.Rows, row)
			continue
		}
		hit := row.Status == fault.StatusMeasured
		var both []effect.Pair
		for n := range pairs {
			order := []bool{false, true}
			if rnd.IntN(2) == 0 {
				slices.Reverse(order)
			}
			var pair effect.Pair
			for _, on := range order {
				run(guard, nil)
				w := fault.Window{Pair: n, On: on, From: now, Whole: true}
				if on {
					pair.On = run(length, f.with)
					w.Counts, w.Applied, w.Lifted = pair.On, w.From-0.1, now
					if f.kind != fault.KindControl {
						r.Events = append(r.Events, fault.Event{At: w.Applied, Fault: f.name, Kind: "fault on", Text: f.detail}, fault.Event{At: now, Fault: f.name, Kind: "fault off", Text: "the rule was deleted"})
					}
					if hit && f.kind == fault.KindRule {
						w.Hits = pair.On.Sent
					} else if hit && f.kind != fault.KindControl {
						w.Hits = 1
					}
				} else {
					pair.Off = run(length, nil)
					w.Counts = pair.Off
				}
				w.To = now
				row.Hits += w.Hits
				row.Windows = append(row.Windows, w)
			}
			both = append(both, pair)
		}
		row.Pairs, row.Effect = len(both), effect.Compare(both, hit)
		if f.kind != fault.KindControl && hit {
			row.Detect, row.Recover = reactions(f.detect, pairs, 2.5), reactions(f.recover, pairs, 20)
			if f.detect > 0 {
				row.Detect.By = []string{"state Degraded"}
			}
		}
		r.Rows = append(r.Rows, row)
	}
	r.Seconds = now
	return r
}

func reactions(typical float64, tries int, bound float64) fault.Reactions {
	t := fault.Reactions{Tries: tries, Bound: bound, Step: 0.05, Seconds: []float64{}}
	if typical > 0 {
		for i := range tries {
			t.Seconds = append(t.Seconds, typical*(1+0.1*float64(i)/float64(tries)))
		}
		t.Seen, t.Median, t.Worst = tries, typical*1.04, typical*1.09
	}
	return t
}
