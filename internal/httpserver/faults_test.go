package httpserver

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

func TestFaultOfRequestStrikesItsRouteButNeverHealth(t *testing.T) {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	if set.Status().CompiledOut {
		t.Skip("this build has no faults")
	}
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	r := start(t, cfg, Deps{Faults: set}, func(s *Server) {
		for _, path := range []string{"/a", "/b"} {
			s.Handle("GET "+path, "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "handled") }))
		}
	})
	strike := func(rule fault.Rule) {
		t.Helper()
		rule.ID, rule.Point, rule.For, rule.Where = "r", "http.*", time.Minute, map[string]string{"route": "GET /a", "method": "GET"}
		if err := set.Put(fault.Admin, rule); err != nil {
			t.Fatal(err)
		}
	}

	strike(fault.Rule{Error: &fault.Failure{}})
	do(t, "GET", r.url+"/a", "").wantProblem(t, 500, "injected_fault")
	strike(fault.Rule{Error: &fault.Failure{HTTPStatus: 503, RetryAfter: 3 * time.Second}})
	a := do(t, "GET", r.url+"/a", "")
	a.wantProblem(t, 503, "injected_fault")
	if a.Header.Get("Retry-After") != "3" || !strings.Contains(a.body, "http.request (rule r)") {
		t.Errorf("%v %s", a.Header, a.body)
	}
	strike(fault.Rule{Panic: &fault.Panicking{}})
	do(t, "GET", r.url+"/a", "").wantProblem(t, 500, "internal")
	strike(fault.Rule{Hang: &fault.Hang{}})
	do(t, "GET", r.url+"/a", "", "X-Request-Timeout", "50ms").wantProblem(t, 504, "deadline_exceeded")
	strike(fault.Rule{Drop: &fault.Drop{}})
	if res, err := http.Get(r.url + "/a"); err == nil {
		res.Body.Close()
		t.Errorf("a dropped request is answered %d", res.StatusCode)
	}
	if a := do(t, "GET", r.url+"/b", ""); a.body != "handled" {
		t.Errorf("another route: %d %s", a.StatusCode, a.body)
	}

	if err := set.Put(fault.Admin, fault.Rule{ID: "r", Point: "*", For: time.Minute, Error: &fault.Failure{}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := do(t, "GET", r.url+path, ""); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if err := set.Kill(fault.Admin, true); err != nil {
		t.Fatal(err)
	}
	if a := do(t, "GET", r.url+"/a", ""); a.body != "handled" {
		t.Errorf("after the kill switch: %d %s", a.StatusCode, a.body)
	}
}
