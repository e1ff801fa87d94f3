//go:build linux

package workers

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestSoakOfDyingWorkers keeps the service under load for as long as DOUGONG_SOAK says, while every second something happens
// to a worker. Nothing grows, and nothing fails.
func TestSoakOfDyingWorkers(t *testing.T) {
	needsTime(t)
	length := 10 * time.Second
	if text := os.Getenv("DOUGONG_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	poison := float64(float32(1 + rand.Float64()))
	p := up(t, []string{"nativefaults"}, fmt.Sprintf("ORT_TEST_POISON=%.17g", poison), "ORT_TEST_POISON_KIND=segv")
	p.twoServe()
	tr := p.load(500)
	ways := []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGSTOP}
	var x, y []float64
	var first, last usage
	struck := 0
	begin := time.Now()
	for time.Since(begin) < length {
		time.Sleep(500 * time.Millisecond)
		p.twoServe()
		pids := append([]int{p.cmd.Process.Pid}, p.workers()...)
		if u, ok := measure(t, pids...); ok && len(pids) == 3 && time.Since(begin) > length/5 {
			if len(x) == 0 {
				first = u
			}
			last = u
			x, y = append(x, time.Since(begin).Seconds()), append(y, u.bytes)
		}
		if struck++; struck%10 == 0 {
			if status, answer := p.post("/v1/predict", poisoned(poison, float64(struck))); status != 422 {
				t.Errorf("the poison is answered %d: %s", status, answer)
			}
			continue
		}
		if pids := p.workers(); len(pids) > 0 {
			syscall.Kill(pids[rand.N(len(pids))], ways[rand.N(len(ways))])
		}
	}
	p.twoServe()
	result := tr.stop()
	slope, margin := trend(x, y)
	t.Logf("%v, %d times something happened to a worker; %d requests, failed %v, %d answered by the fallback, p99 %v; memory grows by %.0f ± %.0f bytes a second (95 %%) from %.1f MiB; descriptors %d, then %d; threads %d, then %d",
		length, struck, result.Total.Due, result.Total.Failed, tr.byFallback(), time.Duration(result.Total.Latency.Quantile(0.99)), slope, margin, first.bytes/(1<<20), first.descriptors, last.descriptors, first.threads, last.threads)
	if n := result.Total.Due - result.Total.OK - result.Total.Unfinished; n > 0 {
		t.Errorf("%d of %d requests failed: %v %v", n, result.Total.Due, result.Total.Failed, result.Errors)
	}
	if length >= 3*time.Minute && slope-margin > 32<<10 {
		t.Errorf("memory grows by %.0f bytes a second", slope)
	}
	if last.descriptors > first.descriptors+30 || last.threads > first.threads+10 {
		t.Error("descriptors or threads grow")
	}
	p.stop()
}
