//go:build linux

package workers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
	"github.com/dougong-io/dougong/prove/load/script"
)

const data = "../../examples/data/loan-default/cases.csv"

// plan asks for loans, row after row, each answer held against XGBoost's own, or against the fallback's where that may answer.
func plan(fallback bool) load.Plan {
	p := load.DefaultPlan()
	p.Connections = 64
	p.Timeout, p.Drain = load.Duration(5*time.Second), load.Duration(5*time.Second)
	p.Rows = load.Rows{File: data, Order: load.RowsRandom}
	step := load.Step{Method: "POST", Path: "/v1/predict", Body: `{"model":"loan","input":[{{funded_amnt..state_WY|json}}]}`, Checks: []string{"status == 200"}}
	if !fallback {
		step.Checks = append(step.Checks, "json $.output[0] == {{full}} ± 1e-5")
	}
	p.Scenarios = []load.Scenario{{Name: "loan", Steps: []load.Step{step}}}
	return p
}

// ended is a request that has ended.
type ended struct {
	due, at  time.Time
	class    load.Class
	fallback bool
}

// traffic is a load that goes on until it is stopped.
type traffic struct {
	t     *testing.T
	began time.Time
	mu    sync.Mutex
	all   []ended
	stop  func() *load.Result
}

// capacity is how many requests a second the service answers to callers that ask as fast as they get answers.
func (p *process) capacity() float64 {
	p.t.Helper()
	plan := plan(false)
	plan.Target, plan.Connections = p.http, 8
	plan.Closed = &load.Closed{Users: 8, Duration: load.Duration(3 * time.Second)}
	result, err := load.Run(p.ctx, plan, load.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	if n := result.Total.Due - result.Total.OK; n > 0 {
		p.t.Fatalf("%d of %d requests failed before anything was done: %v %v", n, result.Total.Due, result.Total.Failed, result.Errors)
	}
	return float64(result.Total.OK) / result.Total.Seconds
}

// load offers rate requests a second until stop. Answers of the fallback are good ones.
func (p *process) load(rate float64) *traffic {
	p.t.Helper()
	tr := &traffic{t: p.t}
	plan := plan(true)
	plan.Target = p.http
	plan.Open = schedule.Constant(rate, time.Hour)
	ctx, cancel := context.WithCancel(p.ctx)
	began := make(chan struct{})
	done := make(chan struct{})
	var result *load.Result
	var err error
	go func() {
		defer close(done)
		result, err = load.Run(ctx, plan, load.Options{
			Began: func(at time.Time) { tr.began = at; close(began) },
			Mark:  func(a *script.Answer) bool { return a.Header("X-Dougong-Served-By") != "" },
			Ended: func(e load.Ended) {
				if e.Unfinished {
					return
				}
				tr.mu.Lock()
				tr.all = append(tr.all, ended{e.Due, e.At, e.Class, e.Marked})
				tr.mu.Unlock()
			},
		})
	}()
	select {
	case <-began:
	case <-done:
		p.t.Fatal(err)
	}
	tr.stop = sync.OnceValue(func() *load.Result {
		cancel()
		<-done
		if err != nil && ctx.Err() == nil {
			p.t.Error(err)
		}
		return result
	})
	p.t.Cleanup(func() { tr.stop() })
	return tr
}

// window are the requests that were due within.
func (tr *traffic) window(from, to time.Time) (in []ended) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, e := range tr.all {
		if !e.due.Before(from) && e.due.Before(to) {
			in = append(in, e)
		}
	}
	return in
}

// byFallback counts the answers that a fallback gave.
func (tr *traffic) byFallback() (n int) {
	for _, e := range tr.window(tr.began, time.Now()) {
		if e.fallback {
			n++
		}
	}
	return n
}

// failures are the requests that failed, by their class.
func failures(in []ended) map[load.Class]int {
	failed := map[load.Class]int{}
	for _, e := range in {
		if e.class != "" {
			failed[e.class]++
		}
	}
	return failed
}

// quantile of the latencies, from when the requests were due.
func quantile(in []ended, q float64) time.Duration {
	if len(in) == 0 {
		return 0
	}
	all := make([]time.Duration, len(in))
	for i, e := range in {
		all[i] = e.at.Sub(e.due)
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

func TestWorkersMayDieUnderLoad(t *testing.T) {
	needsTime(t)
	times := 3
	if long() {
		times = 100
	}
	p := up(t, nil)
	p.twoServe()
	capacity := p.capacity()
	rate := 0.6 * capacity
	t.Logf("capacity %.0f requests a second; offered are %.0f", capacity, rate)
	tr := p.load(rate)
	time.Sleep(3 * time.Second)
	normal := tr.window(tr.began.Add(time.Second), tr.began.Add(3*time.Second))
	t.Logf("normally: p50 %v, p99 %v, failed %v of %d", quantile(normal, 0.5), quantile(normal, 0.99), failures(normal), len(normal))
	for _, way := range []struct {
		name string
		kill func(pid int) error
	}{
		{"SIGKILL", func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }},
		{"SIGSEGV", func(pid int) error { return syscall.Kill(pid, syscall.SIGSEGV) }},
		{"SIGSTOP", func(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }},
	} {
		retried := p.metric("dougong_inference_worker_retries_total")
		var after, during []ended
		var worst time.Duration
		met := 0
		for range times {
			p.twoServe()
			pids := p.workers()
			before := p.metric("dougong_inference_worker_retries_total")
			pid := pids[rand.N(len(pids))]
			at := time.Now()
			if err := way.kill(pid); err != nil {
				t.Fatal(err)
			}
			p.eventually("the worker is gone", func() bool { return !slices.Contains(p.workers(), pid) })
			p.twoServe()
			time.Sleep(time.Until(at.Add(time.Second + 200*time.Millisecond)))
			second := tr.window(at, at.Add(time.Second))
			after = append(after, second...)
			worst = max(worst, quantile(second, 0.99))
			if p.metric("dougong_inference_worker_retries_total") > before {
				met++
			}
			during = append(during, tr.window(at.Add(-100*time.Millisecond), at.Add(time.Second))...)
		}
		failed := failures(during)
		t.Logf("%s, %d times: %d met a call, %.0f calls went to another worker; %d requests, failed %v; in the seconds after p99 %v (worst second %v)",
			way.name, times, met, p.metric("dougong_inference_worker_retries_total")-retried, len(during), failed, quantile(after, 0.99), worst)
		if len(failed) > 0 {
			t.Errorf("%s: %v failed", way.name, failed)
		}
		if met == 0 {
			t.Errorf("%s: no worker had a call when it died", way.name)
		}
	}
	result := tr.stop()
	if n := result.Total.Due - result.Total.OK - result.Total.Unfinished; n > 0 {
		t.Errorf("%d of %d requests failed: %v %v", n, result.Total.Due, result.Total.Failed, result.Errors)
	}
	t.Logf("%d of %d requests were answered by the fallback", tr.byFallback(), result.Total.Due)
	if n := p.metric("dougong_inference_quarantined_total"); n > 0 {
		t.Errorf("%.0f inputs were taken into quarantine", n)
	}
	p.stop()
}

// TestNullWriteInNativeCode has C write to address 0, on inputs that are chosen when the test runs.
func TestNullWriteInNativeCode(t *testing.T) {
	needsTime(t)
	times := 3
	if long() {
		times = 100
	}
	poison := float64(float32(1 + rand.Float64())) // as a tensor has it
	p := up(t, []string{"nativefaults"}, fmt.Sprintf("ORT_TEST_POISON=%.17g", poison), "ORT_TEST_POISON_KIND=segv")
	p.twoServe()
	rate := 0.6 * p.capacity()
	tr := p.load(rate)
	time.Sleep(time.Second)
	for i := range times {
		body := poisoned(poison, float64(i))
		before := p.metric("dougong_inference_worker_ends_total")
		status, answer := p.post("/v1/predict", body)
		if status != 422 || !strings.Contains(answer, "input_quarantined") || !strings.Contains(answer, "reference") {
			t.Fatalf("the poison is answered %d: %s", status, answer)
		}
		if status, _ := p.post("/v1/predict", body); status != 422 {
			t.Errorf("the poison again: %d", status)
		}
		p.twoServe()
		if n := p.metric("dougong_inference_worker_ends_total") - before; n != 2 {
			t.Errorf("it killed %.0f workers", n)
		}
		time.Sleep(200 * time.Millisecond)
	}
	result := tr.stop()
	t.Logf("%d inputs killed two workers each; %d other requests, failed %v, p99 %v", times, result.Total.Due, result.Total.Failed, time.Duration(result.Total.Latency.Quantile(0.99)))
	if n := result.Total.Due - result.Total.OK - result.Total.Unfinished; n > 0 {
		t.Errorf("%d of %d other requests failed: %v %v", n, result.Total.Due, result.Total.Failed, result.Errors)
	}
	if n := p.metric("dougong_inference_quarantined_total"); int(n) != times {
		t.Errorf("%.0f inputs were taken into quarantine", n)
	}
	p.stop()
}

// poisoned is a body whose first value is the poison; the others are as many zeros as the model takes, and one that differs.
func poisoned(poison, other float64) string {
	return fmt.Sprintf(`{"model":"loan","input":[%.9g,%g%s]}`, poison, other, strings.Repeat(",0", 70))
}

// TestAllWorkersDeadForTenSeconds keeps killing whatever comes.
func TestAllWorkersDeadForTenSeconds(t *testing.T) {
	needsTime(t)
	length := 3 * time.Second
	if long() {
		length = 10 * time.Second
	}
	p := up(t, nil)
	p.twoServe()
	tr := p.load(0.3 * p.capacity())
	time.Sleep(time.Second)
	begin := time.Now()
	told := time.Duration(0)
	for time.Since(begin) < length {
		for _, pid := range p.workers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if _, body := p.get(p.admin + "/readyz"); told == 0 && strings.Contains(body, "Degraded") {
			told = time.Since(begin)
		}
		time.Sleep(time.Millisecond)
	}
	over := time.Now()
	if told == 0 {
		t.Error("the state never said that the fallback answers")
	}
	p.eventually("it is ready again", func() bool {
		_, body := p.get(p.admin + "/readyz")
		return strings.Contains(body, "Ready")
	})
	back := time.Now()
	time.Sleep(2 * time.Second)
	result := tr.stop()
	all := tr.window(tr.began, time.Now())
	byFallback, last := 0, over
	for _, e := range all {
		if e.fallback {
			byFallback++
			if e.due.After(last) {
				last = e.due
			}
		}
	}
	t.Logf("all dead for %v: told after %v; %d requests, failed %v, %d answered by the fallback; the last of them %v after the end, ready %v after it", length, told, len(all), failures(all), byFallback, last.Sub(over), back.Sub(over))
	if n := result.Total.Due - result.Total.OK - result.Total.Unfinished; n > 0 {
		t.Errorf("%d of %d requests failed: %v %v", n, result.Total.Due, result.Total.Failed, result.Errors)
	}
	if byFallback == 0 {
		t.Error("the fallback answered nothing")
	}
	p.stop()
}
