package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFaultsOfTheAdminPortTakeEffectAtOnce sets and kills faults many times. When a change is answered, the next
// request meets it: nothing is waited for. It prints how long that takes; `go test -v` shows it.
func TestFaultsOfTheAdminPortTakeEffectAtOnce(t *testing.T) {
	p := up(t)
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	call := func(method, path, body string, want int) {
		t.Helper()
		if status, answer := do(t, method, p.admin+path, body); status != want {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
	}
	expect := func(want int) {
		t.Helper()
		if status, body := p.predict(miniRequest); status != want {
			t.Fatalf("%d %s, want %d", status, body, want)
		}
	}
	var set, killed []time.Duration
	rule := `{"point":"http.request","for":"1m","error":{"http_status":503}}`
	for i := range rounds {
		id := fmt.Sprintf("/faults/rules/r%d", i)
		began := time.Now()
		call(http.MethodPut, id, rule, 200)
		expect(503)
		set = append(set, time.Since(began))
		began = time.Now()
		call(http.MethodPut, "/faults/kill", "", 204)
		expect(200)
		killed = append(killed, time.Since(began))
		call(http.MethodDelete, "/faults/kill", "", 204)
		call(http.MethodDelete, id, "", 204)
	}
	for name, times := range map[string][]time.Duration{"rule to effect": set, "kill switch to effect": killed} {
		slices.Sort(times)
		t.Logf("%s: p50 %v, p99 %v, most %v", name, times[len(times)/2], times[len(times)*99/100], times[len(times)-1])
	}
	if !strings.Contains(p.stderr.String(), "fault kill switch released") {
		t.Error("the log does not tell of the kill switch")
	}
}
