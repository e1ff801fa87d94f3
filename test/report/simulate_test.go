package report_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

const seed = 20

// target is a service of a few connections that each serve one request at a time, and the run that asked it. It
// gives results that hang together: the wait of a stall is in the latency of what was due, and not in the service
// time of what was sent.
type target struct {
	random      *rand.Rand
	connections int
	stallFrom   float64 // seconds since the start; no request makes progress until stallTo
	stallTo     float64
	timeout     float64
	mean        float64 // service time in seconds
	failing     float64 // share of requests that are shed, once load is above 80 % of capacity
	free        freeAt
	result      *load.Result
}

// freeAt holds when each connection is free again.
type freeAt []float64

func (f freeAt) Len() int           { return len(f) }
func (f freeAt) Less(i, j int) bool { return f[i] < f[j] }
func (f freeAt) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *freeAt) Push(x any)        { *f = append(*f, x.(float64)) }
func (f *freeAt) Pop() any          { old := *f; x := old[len(old)-1]; *f = old[:len(old)-1]; return x }

func newWindow(seconds float64) load.Window {
	return load.Window{Seconds: seconds, Failed: map[load.Class]uint64{}, Status: map[string]uint64{}, Latency: new(hdr.Histogram), Service: new(hdr.Histogram)}
}

func newTarget(connections int, mean float64, seconds int) *target {
	plan := load.DefaultPlan()
	plan.Target, plan.Protocol, plan.Connections, plan.Seed = "http://127.0.0.1:8080/v1/predict", load.HTTP1, connections, seed
	plan.Timeout = load.Duration(2 * time.Second)
	plan.Scenarios = []load.Scenario{{Name: "score", Steps: []load.Step{{Name: "predict", Method: "POST", Path: "/v1/predict", Body: `{"rows":[[{{age}},{{income}}]]}`, Checks: []string{"status == 200"}}}}}
	t := &target{
		random: rand.New(rand.NewPCG(seed, 0)), connections: connections, timeout: 2, mean: mean,
		result: &load.Result{
			Schema: load.ResultSchema, Version: "v0.1.0", Started: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC), Seconds: float64(seconds),
			End: load.EndFinished, Target: plan.Target, Protocol: plan.Protocol, Loop: load.OpenLoop,
			Machine: load.Machine{OS: "linux", Arch: "amd64", CPUs: 8, Procs: 4, Go: "go1.26.8"},
			Client:  load.Client{CPUSeconds: 1.34, CPUPerRequest: 9.8, PeakMemory: 41 << 20, Connections: connections, Late: new(hdr.Histogram)},
			Plan:    &plan, Total: newWindow(float64(seconds)), Verdict: load.VerdictNone, Notes: []string{}, Errors: []load.ErrorSample{}, SLO: []load.SLOResult{},
		},
	}
	for i := range seconds {
		t.result.Intervals = append(t.result.Intervals, load.Interval{From: float64(i), Window: newWindow(1)})
	}
	t.free = make(freeAt, connections)
	return t
}

// offer lets rate requests a second be due from one second to another, and counts them in windows too.
func (t *target) offer(rate, from, to float64, windows ...*load.Window) {
	r := t.result
	for n := range int(rate * (to - from)) {
		due := from + float64(n)/rate
		within := t.interval(due)
		all := append([]*load.Window{&r.Total, &within.Window}, windows...)
		sent := max(due, t.free[0])
		served := t.mean * math.Exp(0.45*t.random.NormFloat64()-0.1)
		if t.random.Float64() < 0.004 {
			served *= 8 // a collection of garbage, a slow disk: the tail that every service has
		}
		done := sent + served
		if done > t.stallFrom && sent < t.stallTo {
			done = t.stallTo + served
		}
		class, status := load.Class(""), "200"
		switch roll := t.random.Float64(); {
		case roll < t.failing:
			class, status = load.ClassStatus, "503"
			done = min(done, sent+t.mean/4)
		case roll < t.failing+0.0004 && t.failing > 0, done-due > t.timeout:
			class, status = load.ClassTimeout, ""
			done = max(due+t.timeout, sent)
		}
		t.free[0] = done
		heap.Fix(&t.free, 0)
		t.interval(done).Done++
		r.Client.Late.Record(int64(t.random.ExpFloat64() * 40_000))
		for _, w := range all {
			w.Due++
			w.BytesOut += 311
			if status != "" {
				w.Status[status]++
				w.BytesIn += 164
			}
			if class == "" {
				w.OK++
			} else {
				w.Failed[class]++
			}
			if class == load.ClassStatus {
				if w.Rejected == nil {
					w.Rejected = new(hdr.Histogram)
				}
				w.Rejected.Record(int64((done - due) * 1e9))
				continue
			}
			w.Latency.Record(int64((done - due) * 1e9))
			w.Service.Record(int64((done - sent) * 1e9))
		}
	}
}

func (t *target) finish() *load.Result {
	r := t.result
	for i := range r.Intervals {
		v := &r.Intervals[i]
		v.InFlight = int(float64(v.Due)*t.mean) + 1
		if v.From <= t.stallFrom && t.stallFrom < v.From+v.Seconds {
			v.InFlight = t.connections
		}
	}
	first := &r.Intervals[0]
	first.Connects, r.Total.Connects = uint64(t.connections), uint64(t.connections)
	r.Total.Connect = new(hdr.Histogram)
	for range t.connections {
		r.Total.Connect.Record(int64(180_000 + t.random.ExpFloat64()*90_000))
	}
	r.Judged = newWindow(0)
	for i := range r.Intervals {
		if v := &r.Intervals[i]; v.Late {
			r.LateSeconds += v.Seconds
		} else {
			join(&r.Judged, &v.Window)
		}
	}
	r.Requests = []load.RequestResult{{Name: "predict", Window: r.Total}}
	return r
}

func join(sum, w *load.Window) {
	sum.Seconds += w.Seconds
	sum.Due += w.Due
	sum.OK += w.OK
	sum.BytesIn += w.BytesIn
	sum.BytesOut += w.BytesOut
	sum.Connects += w.Connects
	for class, n := range w.Failed {
		sum.Failed[class] += n
	}
	for status, n := range w.Status {
		sum.Status[status] += n
	}
	sum.Latency.Add(w.Latency)
	sum.Service.Add(w.Service)
}

func (t *target) interval(at float64) *load.Interval {
	all := t.result.Intervals
	return &all[min(max(int(at), 0), len(all)-1)]
}

// stalledRun is 30 s in three stages: a stall of the target in second 10, a late generator in second 20, and 503s
// and time-outs in the last stage.
func stalledRun() *load.Result {
	t := newTarget(64, 0.0021, 30)
	t.stallFrom, t.stallTo = 10, 11
	r := t.result
	r.Plan.Open = &schedule.Spec{}
	for i, rate := range []float64{500, 1000, 1500} {
		r.Plan.Open.Stages = append(r.Plan.Open.Stages, schedule.Stage{Length: schedule.Duration(10 * time.Second), From: rate, To: rate})
		t.failing = []float64{0, 0, 0.006}[i]
		stage := load.Stage{Name: []string{"500/s", "1000/s", "1500/s"}[i], From: float64(10 * i), Rate: rate, Window: newWindow(10)}
		t.offer(rate, stage.From, stage.From+10, &stage.Window)
		r.Stages = append(r.Stages, stage)
	}
	late := &r.Intervals[20]
	late.Late, late.LateMax = true, 34.2
	r.Client.Late.Record(34_200_000)
	t.finish()
	p99 := float64(r.Judged.Latency.Quantile(0.99)) / 1e6
	rate := float64(r.Judged.OK) / r.Judged.Seconds
	r.Plan.SLO = []string{"p99<50ms", "errors<1%", "rate>900"}
	r.SLO = []load.SLOResult{
		{SLO: "p99<50ms", Value: p99, Bound: 50, Unit: "ms", Verdict: load.VerdictFail},
		{SLO: "errors<1%", Value: r.Judged.ErrorShare(), Bound: 0.01, Unit: "share", Verdict: load.VerdictPass},
		{SLO: "rate>900", Value: rate, Bound: 900, Unit: "rps", Verdict: load.VerdictPass},
	}
	r.Verdict = load.VerdictFail
	r.Notes = []string{"The generator was late by up to 34.2 ms in 1 of 30 s. That second is not judged."}
	r.Errors = []load.ErrorSample{
		{Class: load.ClassStatus, At: 20.013, Request: "predict", Message: `status 503: {"title":"overloaded","detail":"the queue is full; try again later"}`},
		{Class: load.ClassTimeout, At: 21.5, Request: "predict", Message: "no whole answer within 2s after it was due"},
	}
	return r
}

// searchedRun looks for the breakpoint of a target that holds 4000 requests a second: 8 connections of 2 ms each.
func searchedRun() *load.Result {
	rates := []float64{1000, 2000, 4200, 3000, 3600, 3900, 3750, 3750, 4500, 5200, 6000}
	t := newTarget(8, 0.002, 3*len(rates))
	r := t.result
	r.Breakpoint = &load.Breakpoint{Rate: 3750, Above: 3900, Precision: 0.04, Limit: "slo"}
	r.Plan.Search = &load.Search{From: 1000, To: 20000, Precision: 0.05, Trial: load.Duration(3 * time.Second), Budget: load.Duration(time.Minute), Beyond: true}
	for i, rate := range rates {
		trial := load.Trial{Rate: rate, Verdict: load.VerdictPass, Phase: "search", Window: newWindow(3)}
		from := float64(3 * i)
		t.free = make(freeAt, t.connections) // each trial begins with an idle target
		t.offer(rate, from, from+3, &trial.Window)
		good := trial.Latency.Count() - trial.Latency.CountAbove(20_000_000)
		trial.Goodput = min(float64(good), float64(trial.OK)) / 3
		if trial.Latency.Quantile(0.99) > 20_000_000 {
			trial.Verdict, trial.Reason = load.VerdictFail, "p99<20ms"
		}
		switch {
		case i == 7:
			trial.Phase = "confirm"
		case i > 7:
			trial.Phase = "beyond"
		}
		r.Breakpoint.Trials = append(r.Breakpoint.Trials, trial)
	}
	t.finish()
	r.Plan.SLO = []string{"p99<20ms"}
	r.SLO = []load.SLOResult{{SLO: "p99<20ms", Value: float64(r.Breakpoint.Trials[7].Latency.Quantile(0.99)) / 1e6, Bound: 20, Unit: "ms", Verdict: load.VerdictPass}}
	r.Verdict = load.VerdictPass
	return r
}
