package httpserver

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/internal/auth"
)

func startAdmin(t *testing.T, change func(*Config)) *running {
	t.Helper()
	cfg := DefaultAdminConfig()
	cfg.Listen = "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	r := &running{logs: &buffer{}, access: &buffer{}, seen: newRecorder(), ended: make(chan error, 1)}
	s, err := NewAdmin(cfg, AdminDeps{
		Deps:    Deps{Logger: slog.New(slog.NewJSONHandler(r.logs, nil)), Observer: r.seen},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") }),
		Status: func(context.Context) any {
			return map[string]any{"version": "1.2", "services": []any{map[string]any{"name": "order", "state": "Ready", "cause": nil}}, "list": []int{1, 2}, "odd": "a\nb", "empty": []int{}}
		},
		Invariants: func(context.Context) any { return map[string]bool{"ok": true} },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.run(t, s, func(s *Server) {
		s.Handle("POST /faults", auth.Fault, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "set") }))
	})
	return r
}

func TestAdminOnLoopbackIsOpenToTheMachineButNotToWebPages(t *testing.T) {
	r := startAdmin(t, nil)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/statusz", "/debug/invariants", "/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/profile?seconds=1"} {
		if a := do(t, "GET", r.url+path, ""); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if a := do(t, "POST", r.url+"/faults", ""); a.body != "set" {
		t.Errorf("a change: %d %s", a.StatusCode, a.body)
	}
	do(t, "GET", r.url+"/statusz", "", "Host", "evil.example:9090").wantProblem(t, 403, "host_not_allowed")
	do(t, "POST", r.url+"/faults", "", "Origin", "https://evil.example").wantProblem(t, 403, "cross_origin")
	do(t, "POST", r.url+"/faults", "", "Sec-Fetch-Site", "cross-site").wantProblem(t, 403, "cross_origin")
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9090", "[::1]"} {
		if a := do(t, "GET", r.url+"/statusz", "", "Host", host); a.StatusCode != 200 {
			t.Errorf("Host %s: %d", host, a.StatusCode)
		}
	}
	r.stop()
	if n := strings.Count(r.logs.String(), `"msg":"audit"`); n != 3 {
		t.Errorf("%d audit lines, want 3:\n%s", n, r.logs.String())
	}
}

func TestAdminBeyondLoopbackShowsMetricsAndHealthToAnyoneAndTheRestByRole(t *testing.T) {
	path, plain := writeTokens(t)
	for _, tokens := range []string{"", path} {
		r := startAdmin(t, func(c *Config) { c.Listen, c.TokensFile = "0.0.0.0:0", tokens })
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			if a := do(t, "GET", r.url+path, ""); a.StatusCode != 200 {
				t.Errorf("%s: %d", path, a.StatusCode)
			}
		}
		for _, path := range []string{"/statusz", "/debug/invariants", "/debug/pprof/", "/debug/pprof/heap"} {
			a := do(t, "GET", r.url+path, "")
			if tokens == "" {
				a.wantProblem(t, 403, "no_tokens_file")
				continue
			}
			a.wantProblem(t, 401, "unauthenticated")
			do(t, "GET", r.url+path, "", "Authorization", "Bearer "+plain[auth.Fault]).wantProblem(t, 403, "forbidden")
			if a := do(t, "GET", r.url+path, "", "Authorization", "Bearer "+plain[auth.Read]); a.StatusCode != 200 {
				t.Errorf("%s with the role: %d", path, a.StatusCode)
			}
		}
		if tokens == "" {
			continue
		}
		do(t, "POST", r.url+"/faults", "", "Authorization", "Bearer "+plain[auth.Fault])
		do(t, "POST", r.url+"/faults", "")
		r.stop()
		for _, want := range []string{
			`"msg":"audit","service":"dougong","caller":"bot-fault","tenant":"acme","method":"POST","route":"POST /faults","path":"/faults","status":200,`,
			`"msg":"audit","service":"dougong","caller":"","tenant":"","method":"POST","route":"POST /faults","path":"/faults","status":401,`,
		} {
			if !strings.Contains(r.logs.String(), want) {
				t.Errorf("no %s in\n%s", want, r.logs.String())
			}
		}
	}
}

func TestAdminOnLoopbackWithTokensAsksForRoles(t *testing.T) {
	path, plain := writeTokens(t)
	r := startAdmin(t, func(c *Config) { c.TokensFile = path })
	do(t, "GET", r.url+"/statusz", "").wantProblem(t, 401, "unauthenticated")
	do(t, "POST", r.url+"/faults", "").wantProblem(t, 401, "unauthenticated")
	do(t, "POST", r.url+"/faults", "", "Authorization", "Bearer "+plain[auth.Read]).wantProblem(t, 403, "forbidden")
	if a := do(t, "POST", r.url+"/faults", "", "Authorization", "Bearer "+plain[auth.Fault]); a.body != "set" {
		t.Errorf("with the role: %d %s", a.StatusCode, a.body)
	}
	do(t, "POST", r.url+"/faults", "", "Authorization", "Bearer "+plain[auth.Fault], "Origin", "https://evil.example").wantProblem(t, 403, "cross_origin")
	if a := do(t, "GET", r.url+"/metrics", ""); a.StatusCode != 200 {
		t.Errorf("metrics: %d", a.StatusCode)
	}
}

func TestAuditIsWrittenWhateverTheLevel(t *testing.T) {
	logs := &buffer{}
	s, err := NewAdmin(DefaultAdminConfig(), AdminDeps{Deps: Deps{Service: "house", Logger: slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelError}))}})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("POST /faults", auth.Fault, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.HandleRoute(Route{Pattern: "POST /panic", Service: "order", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })})
	for _, path := range []string{"/faults", "/panic"} {
		req, _ := http.NewRequest("POST", "http://localhost"+path, nil)
		s.ServeHTTP(&statusOnly{}, req)
	}
	for _, want := range []string{
		`"level":"INFO","msg":"audit","service":"house","caller":"","tenant":"","method":"POST","route":"POST /faults","path":"/faults","status":200,`,
		`"level":"INFO","msg":"audit","service":"order",`,
		`"level":"ERROR","msg":"handler panicked","service":"order","error_code":"panic"`,
	} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("no %s in\n%s", want, logs.String())
		}
	}
}

func TestAdminReportsPanicsToItsObserver(t *testing.T) {
	seen := newRecorder()
	s, err := NewAdmin(DefaultAdminConfig(), AdminDeps{Deps: Deps{Observer: seen}})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("GET /panic", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))
	req, _ := http.NewRequest("GET", "http://localhost/panic", nil)
	s.ServeHTTP(&statusOnly{}, req)
	if seen.panics != 1 {
		t.Errorf("%d panics counted, want 1", seen.panics)
	}
}

func TestStatusIsTextForPeopleAndJSONForPrograms(t *testing.T) {
	r := startAdmin(t, nil)
	const text = `empty    none
list     1, 2
odd      "a\nb"
services
  -
    cause  none
    name   order
    state  Ready
version  1.2
`
	for _, c := range []struct {
		header []string
		text   bool
	}{
		{nil, false},
		{[]string{"Accept", "application/json"}, false},
		{[]string{"Accept", "*/*"}, false},
		{[]string{"Accept", "*/*", "User-Agent", "curl/7.88.1"}, true},
		{[]string{"Accept", "application/json", "User-Agent", "curl/7.88.1"}, false},
		{[]string{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"}, true},
		{[]string{"Accept", "text/plain"}, true},
	} {
		a := do(t, "GET", r.url+"/statusz", "", c.header...)
		if isText := strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain"); isText != c.text {
			t.Errorf("%v: %s", c.header, a.Header.Get("Content-Type"))
		} else if isText && a.body != text {
			t.Errorf("got\n%swant\n%s", a.body, text)
		}
	}
}
