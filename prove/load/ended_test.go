package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load/schedule"
	"github.com/dougong-io/dougong/prove/load/script"
)

// Whoever watches requests end sees each of those that the result counts, once, in every protocol of HTTP, and of a run
// that is cut off too.
func TestEveryRequestEndsOnceForTheSpectator(t *testing.T) {
	const timeout = 150 * time.Millisecond
	mux := http.NewServeMux()
	var stalled atomic.Bool // all connections are busy then, and what is due is not sent
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if stalled.Load() {
			<-r.Context().Done()
		}
		w.Header().Set("X-Degraded", "yes")
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(2 * timeout):
		}
	})
	mux.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	for _, proto := range []Protocol{HTTP1, HTTP2} {
		for _, cutOff := range []bool{false, true} {
			plan := DefaultPlan()
			plan.Target, plan.Protocol = server.URL, proto
			plan.Timeout, plan.Drain = Duration(timeout), Duration(20*time.Millisecond)
			plan.Connections = 2 // too few: some requests are never sent
			plan.Open = schedule.Constant(200, time.Second)
			plan.Scenarios = []Scenario{
				{Weight: 5, Steps: []Step{{Path: "/good"}, {Path: "/good", Think: Duration(time.Millisecond)}}},
				{Steps: []Step{{Path: "/bad"}}}, {Steps: []Step{{Path: "/slow"}}}, {Steps: []Step{{Path: "/cut"}}},
			}
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			var began time.Time
			var sum Window
			marked, unsent := uint64(0), 0
			failed := map[Class]uint64{}
			result, err := Run(ctx, plan, Options{
				Mark: func(a *script.Answer) bool { return a.Header("X-Degraded") == "yes" },
				Began: func(at time.Time) {
					began = at
					if cutOff {
						time.AfterFunc(300*time.Millisecond, func() { stalled.Store(true) })
						time.AfterFunc(400*time.Millisecond, cancel)
					}
				},
				Ended: func(e Ended) {
					mu.Lock()
					defer mu.Unlock()
					sum.Due++
					switch {
					case e.Unfinished:
						sum.Unfinished++
					case e.Class == "":
						sum.OK++
					default:
						failed[e.Class]++
					}
					if e.Marked {
						marked++
					}
					if e.Sent.IsZero() {
						unsent++
					} else if e.Sent.Before(e.Due) {
						t.Errorf("sent %v before it was due", e.Due.Sub(e.Sent))
					}
					if !e.Unfinished && (e.At.Before(e.Due) || e.Due.Before(began) || e.At.Sub(e.Due) > 10*time.Second) {
						t.Errorf("due at %v, ended at %v", e.Due.Sub(began), e.At.Sub(began))
					}
				},
			})
			cancel()
			stalled.Store(false)
			if err != nil {
				t.Fatal(err)
			}
			if !began.Equal(result.Started) {
				t.Errorf("began at %v, the result says %v", began, result.Started)
			}
			total := &result.Total
			if sum.Due != total.Due || sum.OK != total.OK || sum.Unfinished != total.Unfinished || marked != total.OK {
				t.Errorf("%s, cut off: %v: seen %d, %d good, %d marked, %d unfinished; the result has %d, %d, %d", proto, cutOff, sum.Due, sum.OK, marked, sum.Unfinished, total.Due, total.OK, total.Unfinished)
			}
			for _, class := range Classes() {
				if failed[class] != total.Failed[class] {
					t.Errorf("%s: %d of class %s, the result has %d", proto, failed[class], class, total.Failed[class])
				}
			}
			if cutOff && unsent == 0 {
				t.Errorf("%s: every request was sent, so the test does not show what it should", proto)
			}
			t.Logf("%s, cut off: %v: %d requests, %d good, %v, %d unfinished, %d never sent", proto, cutOff, sum.Due, sum.OK, failed, sum.Unfinished, unsent)
		}
	}
}
