package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/test/testenv/etcdserver"
)

// fault runs `dougong fault args…` against the process.
func (p *process) fault(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	return run(p.t, nil, append(append([]string{"fault"}, args...), "--admin", p.admin)...)
}

func (p *process) mustFault(args ...string) string {
	p.t.Helper()
	code, stdout, stderr := p.fault(args...)
	if code != 0 {
		p.t.Fatalf("fault %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func (p *process) faults() (status fault.Status) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.mustFault("list", "--json")), &status); err != nil {
		p.t.Fatal(err)
	}
	return status
}

func TestFaultIsSetSeenAndEndsByItself(t *testing.T) {
	p := up(t)
	if out := p.mustFault("list"); out != "There are no rules.\n" {
		t.Errorf("%q", out)
	}
	if out := p.mustFault("points"); !strings.Contains(out, "http.request") || !strings.Contains(out, "inference.score") {
		t.Errorf("%s", out)
	}
	out := p.mustFault("set", "broken", "--point", "http.request", "--where", "route=POST /v1/predict", "--error", "--http-status", "503", "--retry-after", "2s", "--for", "5m")
	if !strings.HasPrefix(out, "broken is in force until ") {
		t.Errorf("%q", out)
	}
	if status, body := p.predict(miniRequest); status != 503 || !strings.Contains(body, `"code":"injected_fault"`) {
		t.Errorf("%d %s", status, body)
	}
	if _, body := p.get(p.admin+"/statusz", "Accept", "application/json"); !strings.Contains(body, `"id": "broken"`) || !strings.Contains(body, `"hits": 1`) {
		t.Errorf("/statusz does not show it: %s", body)
	}
	if out := p.mustFault("list"); !strings.Contains(out, "broken") || !strings.Contains(out, "Struck last:") {
		t.Errorf("%s", out)
	}
	p.mustFault("set", "broken", "--point", "http.request", "--http-status", "503", "--for", "300ms")
	p.eventually("its expiry", func() bool { status, _ := p.predict(miniRequest); return status == 200 })
	if r := p.faults().Rules; len(r) != 1 || r[0].State != fault.Expired {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{`"msg":"audit"`, `"path":"/faults/rules/broken"`, `"msg":"fault rule active"`, `"msg":"fault injected"`, `"msg":"fault rule expired"`} {
		p.eventually(line, func() bool { return strings.Contains(p.stderr.String(), line) })
	}
}

func TestFaultCommandsThatCannotBeSayWhy(t *testing.T) {
	p := up(t)
	for want, args := range map[string][]string{
		"2 --for: is missing":    {"set", "a", "--point", "*", "--hang"},
		"2 effect: none":         {"set", "a", "--point", "*", "--for", "1s"},
		"2 effect: 2 of them":    {"set", "a", "--point", "*", "--for", "1s", "--hang", "--drop"},
		"2 --jitter: goes":       {"set", "a", "--point", "*", "--for", "1s", "--hang", "--jitter", "1s"},
		"2 --cause: ":            {"set", "a", "--point", "*", "--for", "1s", "--cause", "bad_luck"},
		`1 does not tell "rout"`: {"set", "a", "--point", "http.request", "--where", "rout=x", "--for", "1s", "--hang"},
		"1 is no name of a":      {"clear", ""},
		"1 \"..\" is no name":    {"clear", ".."},
		"1 the ceiling is 1h":    {"set", "a", "--point", "*", "--for", "2h", "--hang"},
		"1 no point is called":   {"set", "a", "--point", "nowhere", "--for", "1s", "--hang"},
		"1 cannot truncate":      {"set", "a", "--point", "http.request", "--for", "1s", "--truncate", "1"},
		"1 no such rule":         {"clear", "nobody"},
	} {
		code, _, stderr := p.fault(args...)
		if wantCode := int(want[0] - '0'); code != wantCode || !strings.Contains(stderr, want[2:]) {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
	if code, _, stderr := run(t, nil, "fault", "list", "--admin", "http://127.0.0.1:1"); code != 1 || !strings.Contains(stderr, "is dougong running") {
		t.Errorf("%d %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "rules.json")
	write(t, file, `{"version":1,"rules":[{"id":"a","point":"http.*","for":"1m","error":{}},{"id":"b","point":"http.*","for":"1m","hagn":{}}]}`)
	if code, _, stderr := run(t, nil, "fault", "check", file); code != 2 || !strings.Contains(stderr, "rules[1].hagn: unknown key") {
		t.Errorf("%d %s", code, stderr)
	}
	write(t, file, `{"version":1,"rules":[{"id":"a","point":"http.*","for":"1m","error":{}}]}`)
	if code, out, _ := run(t, nil, "fault", "check", file); code != 0 || !strings.Contains(out, "not for faults.file and etcd") {
		t.Errorf("%d %s", code, out)
	}
	write(t, file, `{"version":1,"rules":[{"id":"a","point":"http.*","error":{}}]}`)
	if code, _, stderr := run(t, nil, "fault", "check", file); code != 2 || !strings.Contains(stderr, "rules[0].expires: is missing") {
		t.Errorf("%d %s", code, stderr)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	// As an editor does it, so that nobody reads half of it.
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsOfAFileAreFollowedAndTheKillSwitchGoesBeforeThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults.json")
	p := up(t, "DOUGONG_FAULTS_FILE="+file)
	status := func() int { status, _ := p.predict(miniRequest); return status }
	rules := func(id string, httpStatus string) string {
		return `{"version":1,"rules":[{"id":"` + id + `","point":"http.request","expires":"` + time.Now().Add(time.Minute).UTC().Format(time.RFC3339) + `","error":{"http_status":` + httpStatus + `}}]}`
	}
	if status() != 200 {
		t.Error("a file that is not there has rules")
	}
	write(t, file, rules("a", "418"))
	p.eventually("the rule of the file", func() bool { return status() == 418 })
	p.mustFault("set", "a", "--point", "http.request", "--http-status", "503", "--for", "1m")
	if got := status(); got != 503 {
		t.Errorf("the file goes before the admin port: %d", got)
	}
	p.mustFault("kill")
	if got := status(); got != 200 {
		t.Errorf("%d in spite of the kill switch", got)
	}
	write(t, file, rules("b", "418"))
	p.eventually("the new rule", func() bool {
		for _, r := range p.faults().Rules {
			if r.ID == "b" {
				return true
			}
		}
		return false
	})
	if got := status(); got != 200 {
		t.Errorf("a file that changes releases the kill switch: %d", got)
	}
	p.mustFault("clear")
	if got := status(); got != 200 {
		t.Errorf("tidying up releases the kill switch: %d", got)
	}
	p.mustFault("release")
	p.eventually("the rule of the file again", func() bool { return status() == 418 })
	write(t, file, `{"version":2,"sections":[]}`)
	p.eventually("refusal", func() bool { return strings.Contains(p.stderr.String(), "version: 2 is from the future") })
	if got := status(); got != 418 {
		t.Errorf("a file that is refused takes the last good one with it: %d", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p.eventually("no rules without the file", func() bool { return status() == 200 })

	write(t, file, `{"version":1,"rules":[{"id":"a","point":"*","for":"1m","hang":{}}]}`)
	if code, _, stderr := run(t, []string{"DOUGONG_FAULTS_FILE=" + file, "DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0"}, "up"); code != 2 || !strings.Contains(stderr, "rules[0].for") {
		t.Errorf("a bad file at the start: exit code %d: %s", code, stderr)
	}
}

func TestFaultsNeedTheirRoleAndCanBeLeftOut(t *testing.T) {
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens.json")
	tokenFile := map[string]string{}
	for _, role := range []string{"read", "fault"} {
		code, stdout, stderr := run(t, nil, "token", "create", "--file", tokens, "--name", role, "--role", role)
		if code != 0 {
			t.Fatal(stderr)
		}
		tokenFile[role] = filepath.Join(dir, role)
		write(t, tokenFile[role], stdout)
	}
	p := up(t, "DOUGONG_ADMIN_TOKENS_FILE="+tokens)
	set := []string{"set", "a", "--point", "http.request", "--http-status", "503", "--for", "1m"}
	if code, _, stderr := p.fault(set...); code != 1 || !strings.Contains(stderr, "unauthenticated") {
		t.Errorf("without a token: %d %s", code, stderr)
	}
	if code, _, stderr := p.fault(append(set, "--token-file", tokenFile["read"])...); code != 1 || !strings.Contains(stderr, "forbidden") {
		t.Errorf("with another role: %d %s", code, stderr)
	}
	p.mustFault(append(set, "--token-file", tokenFile["fault"])...)
	if status, _ := p.predict(miniRequest); status != 503 {
		t.Errorf("no effect: %d", status)
	}
	if !strings.Contains(p.stderr.String(), `"caller":"fault"`) {
		t.Error("the audit line does not say who")
	}
	none := up(t, "DOUGONG_FAULTS_ENABLED=false")
	if code, _, stderr := none.fault("list"); code != 1 || !strings.Contains(stderr, "faults.enabled") {
		t.Errorf("%d %s", code, stderr)
	}
}

// A call that a fault holds for ever must not hold the process for ever: it ends with its deadline, or with the bound of
// the drain, and is named then as any other that did not end.
func TestDrainEndsAlthoughFaultsHang(t *testing.T) {
	t.Run("by the deadline", func(t *testing.T) {
		p := up(t, "DOUGONG_HTTP_REQUEST_TIMEOUT=3s")
		if code, status := p.drainHung(); code != 0 || status != 504 {
			t.Errorf("exit code %d, the held call is answered %d", code, status)
		}
	})
	t.Run("by the bound of the drain", func(t *testing.T) {
		p := up(t, "DOUGONG_HTTP_DRAIN_TIMEOUT=1s")
		if code, _ := p.drainHung(); code != 1 || !strings.Contains(p.stderr.String(), "had not ended") {
			t.Errorf("exit code %d", code)
		}
	})
}

// drainHung stops a process in which a call hangs.
func (p *process) drainHung() (code, status int) {
	p.mustFault("set", "stuck", "--point", "http.request", "--hang", "--for", "10m")
	answered := make(chan int, 1)
	go func() {
		answer, err := http.Post(p.http+"/v1/predict", "application/json", strings.NewReader(miniRequest))
		if err != nil {
			answered <- 0 // it was cut
			return
		}
		answer.Body.Close()
		answered <- answer.StatusCode
	}()
	p.eventually("a call that hangs", func() bool { return p.faults().Held.Calls == 1 })
	p.signal(syscall.SIGTERM)
	return p.exit(), <-answered
}

// Rules come through a real etcd, stay when it is killed, and its kill switch goes before everything.
func TestFaultsOfEtcdTakeEffectAndItsKillSwitchWins(t *testing.T) {
	server := etcdserver.New(t)
	server.Start()
	client := server.Client()
	put := func(key, value string) {
		t.Helper()
		if _, err := client.Put(t.Context(), "/dougong/faults/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	p := up(t, "DOUGONG_COORDINATION_URL="+strings.Replace(server.Endpoint(), "http://", "etcd://", 1))
	p.eventually("etcd reached", func() bool { _, _, connected := p.inForce(); return connected })
	status := func() int { status, _ := p.predict(miniRequest); return status }
	expires := time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339)
	put("rules", `{"version":1,"rules":[{"id":"a","point":"http.request","expires":"`+expires+`","error":{"http_status":418}},
		{"id":"everything","point":"*","where":{"route":"GET /v1/models"},"expires":"`+expires+`","hang":{}}]}`)
	p.eventually("the rule", func() bool { return status() == 418 })
	put("rules", `{"version":1,"rules":[{"id":"a","point":"http.request","for":"1m","error":{"http_status":400}}]}`)
	p.eventually("refusal", func() bool { return strings.Contains(p.stderr.String(), "rules[0].for") })
	if got := status(); got != 418 {
		t.Errorf("a document that is refused is in force, or nothing: %d", got)
	}
	p.mustFault("set", "b", "--point", "http.request", "--http-status", "503", "--for", "1m")
	put("kill", "")
	p.eventually("the kill switch", func() bool { return status() == 200 })
	if _, err := client.Delete(t.Context(), "/dougong/faults/kill"); err != nil {
		t.Fatal(err)
	}
	p.eventually("its release", func() bool { return status() == 503 })
	p.mustFault("clear", "b")
	server.Kill()
	p.eventually("etcd away", func() bool { _, _, connected := p.inForce(); return !connected })
	if got := status(); got != 418 {
		t.Errorf("without etcd the last good rules are not in force: %d", got)
	}
	p.mustFault("kill")
	if got := status(); got != 200 {
		t.Errorf("%d in spite of the kill switch of the admin port", got)
	}
}
