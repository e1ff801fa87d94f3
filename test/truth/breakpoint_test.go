package truth

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// single is a target with one worker, which takes exactly as long as it is told for each request, one after the other.
// Its capacity does not depend on the machine: a wake-up that comes late does not move the requests behind it.
type single struct {
	each time.Duration

	mu   sync.Mutex
	free time.Time // when the worker has done all that has come
}

func (s *single) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	now := time.Now()
	if s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(s.each)
	done := s.free
	s.mu.Unlock()
	time.Sleep(time.Until(done))
	io.WriteString(w, "ok\n")
}

// TestBreakpointIsTheCapacity searches a target that can do 500 requests a second.
func TestBreakpointIsTheCapacity(t *testing.T) {
	const capacity, within = 500.0, 0.05
	server := httptest.NewServer(&single{each: 2 * time.Millisecond})
	defer server.Close()
	plan := load.DefaultPlan()
	plan.Target = server.URL
	plan.SLO = []string{"p99<50ms"}
	search := load.DefaultSearch()
	search.From, search.To = 50, 5000
	if !long {
		// At a rate a little above the capacity the queue grows slowly: a trial must be so long that it shows in the
		// latency. At 513 a second p99 has grown to 50 ms after 2 s. And it must hold the 100 requests that p99 needs,
		// also without a second in which the generator was late.
		search.From, search.Trial = 100, load.Duration(2*time.Second)
		search.Beyond = false
	}
	plan.Search = &search

	const tries = 3
	for try := 1; ; try++ {
		began := time.Now()
		result, err := load.Run(context.Background(), plan, load.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found := result.Breakpoint
		for _, trial := range found.Trials {
			t.Logf("%-8s %7.1f/s: %s %s, p99 %s, good %.1f/s", trial.Phase, trial.Rate, trial.Verdict, trial.Reason, time.Duration(trial.Latency.Quantile(0.99)).Round(time.Microsecond), trial.Goodput)
		}
		t.Logf("holds at %.1f/s, no longer at %.1f/s, limit %s, after %s", found.Rate, found.Above, found.Limit, time.Since(began).Round(100*time.Millisecond))
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the search took %s", took)
		}
		if math.Abs(found.Rate/capacity-1) <= within {
			return
		}
		// A trial in which the generator was late is not judged, and the search may end there.
		if (found.Limit != "generator" && result.LateSeconds == 0) || try == tries {
			t.Fatalf("found %.1f/s, %+.1f %% from the capacity; limit %s, notes %v", found.Rate, (found.Rate/capacity-1)*100, found.Limit, result.Notes)
		}
	}
}
