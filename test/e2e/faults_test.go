package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
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
	out := p.mustFault("set", "broken", "--point", "http.request", "--where", "route=POST /v1/predict", "--error", "--http-status", "503", "--retry-after", "2s", "--for", "1s")
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
	p.eventually("its expiry", func() bool { status, _ := p.predict(miniRequest); return status == 200 })
	if r := p.faults().Rules; len(r) != 1 || r[0].State != fault.Expired {
		t.Errorf("%+v", r)
	}
	log := p.stderr.String()
	for _, line := range []string{`"msg":"audit"`, `"path":"/faults/rules/broken"`, `"msg":"fault rule active"`, `"msg":"fault injected"`, `"msg":"fault rule expired"`} {
		if !strings.Contains(log, line) {
			t.Errorf("the log has no %s", line)
		}
	}
}

func TestFaultCommandsThatCannotBeSayWhy(t *testing.T) {
	p := up(t)
	for want, args := range map[string][]string{
		"2 --for: is missing": {"set", "a", "--point", "*", "--hang"},
		"2 effect: none":      {"set", "a", "--point", "*", "--for", "1s"},
		"2 effect: 2 of them": {"set", "a", "--point", "*", "--for", "1s", "--hang", "--drop"},
		"2 --jitter: goes":    {"set", "a", "--point", "*", "--for", "1s", "--hang", "--jitter", "1s"},
		"2 error.cause":       {"set", "a", "--point", "*", "--for", "1s", "--error=bad_luck"},
		"1 the ceiling is 1h": {"set", "a", "--point", "*", "--for", "2h", "--hang"},
		"1 no point that can": {"set", "a", "--point", "nowhere", "--for", "1s", "--hang"},
		"1 cannot truncate":   {"set", "a", "--point", "http.request", "--for", "1s", "--truncate", "1"},
		"1 no such rule":      {"clear", "nobody"},
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
	p.mustFault("release")
	p.mustFault("clear", "a")
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
	if code, _, stderr := run(t, []string{"DOUGONG_FAULTS_FILE=" + file, "DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0"}, "up"); code != 2 || !strings.Contains(stderr, "rules[0].for") {
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

// A call that a fault holds for ever must not hold the process for ever.
func TestDrainEndsAlthoughFaultsHang(t *testing.T) {
	p := up(t, "DOUGONG_HTTP_REQUEST_TIMEOUT=3s")
	p.mustFault("set", "stuck", "--point", "http.request", "--hang", "--for", "10m")
	answered := make(chan int, 1)
	go func() {
		status, _ := do(t, "POST", p.http+"/v1/predict", miniRequest)
		answered <- status
	}()
	p.eventually("a call that hangs", func() bool { return p.faults().Held.Calls == 1 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if status := <-answered; status != 504 {
		t.Errorf("the held call is answered %d", status)
	}
}
