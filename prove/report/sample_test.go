package report

import (
	"encoding/json"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

// sample has something in every field.
func sample() *load.Result {
	histogram := func(values ...int64) *hdr.Histogram {
		h := new(hdr.Histogram)
		for _, v := range values {
			h.Record(v)
		}
		return h
	}
	window := func(seconds float64) load.Window {
		return load.Window{
			Seconds: seconds, Due: 5, OK: 3, Failed: map[load.Class]uint64{load.ClassStatus: 1}, Unfinished: 1,
			Status: map[string]uint64{"200": 3, "503": 1}, Messages: 2, BytesOut: 500, BytesIn: 700, Connects: 1,
			Latency: histogram(1_000_000, 2_000_000, 400_000_000), Service: histogram(1_000_000, 2_000_000, 3_000_000),
			Rejected: histogram(90_000), Connect: histogram(250_000),
		}
	}
	plan := load.DefaultPlan()
	plan.Target, plan.Protocol = "http://127.0.0.1:8080", load.HTTP1
	plan.Open = &schedule.Spec{Stages: []schedule.Stage{{Name: "5/s", Length: schedule.Duration(2 * time.Second), From: 5, To: 5}}}
	plan.Closed = &load.Closed{Users: 2}
	plan.Search = &load.Search{From: 1, To: 10}
	plan.Scenarios = []load.Scenario{{Name: "home", Steps: []load.Step{{
		Name: "GET /", Think: load.Duration(1500 * time.Microsecond), Method: "GET", Path: "/", Headers: map[string]string{"Accept": "*/*"}, Checks: []string{"status == 200"}, Save: map[string]string{"id": "$.id"},
	}}}}
	plan.SLO = []string{"p99<50ms"}
	return &load.Result{
		Schema: load.ResultSchema, Version: "v0.1.0", Started: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC), Seconds: 2,
		End: load.EndFinished, Target: plan.Target, Protocol: plan.Protocol, Loop: load.OpenLoop,
		Machine: load.Machine{OS: "linux", Arch: "amd64", CPUs: 8, Procs: 4, Go: "go1.26.8"},
		Client:  load.Client{CPUSeconds: 0.1, CPUPerRequest: 12.5, PeakMemory: 20 << 20, Connections: 64, Late: histogram(1000, 20_000)},
		Plan:    &plan, Total: window(2), Judged: window(1), LateSeconds: 1,
		Stages:   []load.Stage{{Name: "5/s", Rate: 5, Window: window(2)}},
		Requests: []load.RequestResult{{Name: "GET /", Window: window(2)}},
		Intervals: []load.Interval{
			{From: 0, Done: 4, InFlight: 1, Window: window(1)},
			{From: 1, Done: 5, Late: true, LateMax: 12.5, Window: window(1)},
		},
		Breakpoint: &load.Breakpoint{
			Rate: 5, Above: 5.2, Precision: 0.04, Limit: "slo",
			Trials: []load.Trial{{Rate: 5, Goodput: 3, Verdict: load.VerdictPass, Phase: "search", Window: window(1)}},
		},
		SLO: []load.SLOResult{
			{SLO: "p99<50ms", Value: 400, Bound: 50, Unit: "ms", Verdict: load.VerdictFail},
			{SLO: "errors<1%", Value: 0.25, Bound: 0.01, Unit: "share", Verdict: load.VerdictInconclusive, Reason: "4 requests are too few"},
			{SLO: "rate>1", Value: 1.5, Bound: 1, Unit: "rps", Verdict: load.VerdictPass},
		},
		Verdict: load.VerdictFail, Notes: []string{"The generator was late in 1 of 2 s."},
		Errors: []load.ErrorSample{{Class: load.ClassStatus, At: 0.4, Request: "GET /", Message: "status 503"}},
	}
}

// document is r's JSON as a validator takes it, and as a test changes it.
func document(r *load.Result) map[string]any {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		panic(err)
	}
	return doc
}
