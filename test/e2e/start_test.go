package e2e

import (
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/examples/models"
)

// TestReadme sends the first curl of the README and expects the answer that is printed beside it.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile("(?s)curl -s http://127.0.0.1:8080(/[^ ]+) -d '(.*?)'\n```\n```json\n(.*?)```").FindStringSubmatch(string(readme))
	if match == nil {
		t.Fatal("the README has no curl with its answer beside it")
	}
	p := up(t)
	if status, body := do(t, "POST", p.http+match[1], match[2]); status != 200 || body != match[3] {
		t.Errorf("answered %d %s\nthe README says %s", status, body, match[3])
	}
	if status, body := p.predict(`{"model":"loan-mini","input":[0.1,0.9]}`); status != 200 || !strings.Contains(body, `"output":[0.03645608]`) {
		t.Errorf("loan-mini: %d %s", status, body)
	}
	// The run instructions stand where a reader finds them.
	lines := strings.Split(string(readme), "\n")
	if i := strings.Index(strings.Join(lines[:min(15, len(lines))], "\n"), "go run ./cmd/dougong up"); i < 0 {
		t.Error("the README does not run by line 15")
	}
}

func TestWelcomeSaysWhereAndWhatNext(t *testing.T) {
	p := up(t)
	p.eventually("welcome", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C") })
	for _, want := range []string{p.http + "/v1/predict", "loan-default loan-lite loan-mini", p.admin + "/statusz", `curl ` + p.http + `/v1/predict -d '{"model":"loan-mini"`} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("the welcome lacks %q:\n%s", want, p.stdout.String())
		}
	}
	// What it says to try works.
	if status, _ := p.get(p.admin + "/statusz"); status != 200 {
		t.Errorf("statusz: %d", status)
	}
	status, body := p.get(p.admin+"/debug/invariants", "Accept", "application/json")
	var doc struct{ Hold bool }
	if err := json.Unmarshal([]byte(body), &doc); status != 200 || err != nil || !doc.Hold {
		t.Errorf("invariants: %d %s", status, body)
	}
}

func TestFailedStarts(t *testing.T) {
	damaged := t.TempDir()
	if err := os.CopyFS(damaged, models.Repository); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(damaged, "loan-mini/1/model.json")
	data, err := fs.ReadFile(models.Repository, "loan-mini/1/model.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, ' '), 0o644); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("http:\n  listne: 127.0.0.1:1\ninference:\n  slots: -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	free := []string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0"}
	for name, c := range map[string]struct {
		args []string
		env  []string
		code int
		says []string
	}{
		"a damaged model":      {[]string{"up"}, append(free, "DOUGONG_INFERENCE_REPOSITORY="+damaged), 1, []string{"loan-mini/1/model.json", "SHA-256"}},
		"no such repository":   {[]string{"up"}, append(free, "DOUGONG_INFERENCE_REPOSITORY=/nowhere"), 2, []string{"inference.repository", "/nowhere"}},
		"a port that is taken": {[]string{"up"}, append(free, "DOUGONG_HTTP_LISTEN="+taken.Addr().String()), 1, []string{"http.listen: listen", "address already in use", "choose another address"}},
		"a bad file":           {[]string{"up", "--config", bad}, nil, 2, []string{bad + ":2:3: http.listne", `did you mean "listen"`, bad + ":4", "inference.slots: must be at least 0"}},
		"no such file":         {[]string{"up", "--config", "/nowhere.yaml"}, nil, 2, []string{"/nowhere.yaml"}},
		"a bad variable":       {[]string{"up"}, []string{"DOUGONG_HTTP_LISTNE=x"}, 2, []string{"DOUGONG_HTTP_LISTNE", "DOUGONG_HTTP_LISTEN"}},
		"no such service":      {[]string{"run", "infrence"}, nil, 2, []string{`unknown service "infrence"; there are inference`}},
		"a service twice":      {[]string{"run", "inference", "inference"}, nil, 2, []string{"twice"}},
		"no service":           {[]string{"run"}, nil, 2, []string{"usage"}},
		"no such command":      {[]string{"upp"}, nil, 2, []string{"upp"}},
		"no such flag":         {[]string{"up", "--prot"}, nil, 2, []string{"--prot", "--help"}},
		"a token for nobody":   {[]string{"token", "create"}, nil, 2, []string{"--file, --name and --role are needed"}},
		"a budget too small":   {[]string{"up"}, []string{"DOUGONG_INFERENCE_IN_FLIGHT_BYTES=1KiB"}, 2, []string{"inference.in_flight_bytes", "http.max_body_bytes"}},
		"no such model":        {[]string{"model", "inspect", "/nowhere"}, nil, 1, []string{"/nowhere"}},
	} {
		code, stdout, stderr := run(t, c.env, c.args...)
		if code != c.code || stdout != "" {
			t.Errorf("%s: exit code %d, want %d; standard output %q\n%s", name, code, c.code, stdout, stderr)
		}
		for _, want := range c.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: standard error lacks %q:\n%s", name, want, stderr)
			}
		}
	}
}

func TestConfigDefaultIsGood(t *testing.T) {
	code, printed, _ := run(t, nil, "config", "default")
	if code != 0 || !strings.Contains(printed, "127.0.0.1:8080") || !strings.Contains(printed, "# ") {
		t.Fatalf("exit code %d:\n%s", code, printed)
	}
	file := filepath.Join(t.TempDir(), "dougong.yaml")
	if err := os.WriteFile(file, []byte(printed), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, nil, "config", "check", file); code != 0 || stdout != file+": good\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestModelInspect(t *testing.T) {
	for path, want := range map[string][]string{
		"../../examples/models/loan-default":           {"loan-default, version 1", "300, depth at most 6", "9 of 9 hold", "sub_grade_ord", "loan-default, version 2", "400, depth at most 7"},
		"../../examples/models/loan-mini/1":            {"loan-mini, version 1", "int_rate", "xgboost-json"},
		"../../examples/models/loan-mini/1/model.json": {"none: a file alone"},
		"../../examples/models":                        {"loan-lite, version 1", "loan-mini, version 1"},
	} {
		code, stdout, stderr := run(t, nil, "model", "inspect", path)
		for _, w := range want {
			if code != 0 || !strings.Contains(stdout, w) {
				t.Errorf("%s: exit code %d, lacks %q:\n%s%s", path, code, w, stdout, stderr)
			}
		}
	}
	repo := t.TempDir()
	if err := os.CopyFS(repo, models.Repository); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "loan-mini/policy.yaml"), []byte(`serve: "7"`), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, nil, "model", "inspect", filepath.Join(repo, "loan-mini")); code != 1 || !strings.Contains(stdout, "loan-mini, version 1") || !strings.Contains(stderr, "names version 7") {
		t.Errorf("a policy that names no version: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ := run(t, nil, "model", "inspect", "--json", "../../examples/models/loan-mini")
	var reports []struct{ Trees int }
	if err := json.Unmarshal([]byte(stdout), &reports); code != 0 || err != nil || len(reports) != 1 || reports[0].Trees != 40 {
		t.Errorf("exit code %d: %v %s", code, err, stdout)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	if code, stdout, _ := run(t, nil, "version"); code != 0 || !strings.HasPrefix(stdout, "dougong ") {
		t.Errorf("version: %d %s", code, stdout)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, stdout, stderr := run(t, nil, "completion", shell); code != 0 || len(stdout) < 1000 {
			t.Errorf("%s: %d %s", shell, code, stderr)
		}
	}
	if code, stdout, _ := run(t, nil, "__complete", "run", ""); code != 0 || !strings.HasPrefix(stdout, "inference\n") {
		t.Errorf("completion of run: %d %s", code, stdout)
	}
}

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	create := func(name, role string) string {
		code, stdout, stderr := run(t, nil, "token", "create", "--file", file, "--name", name, "--tenant", "shop", "--role", role)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	reader, faulter := create("reader", "read"), create("faulter", "fault")
	if stored, err := os.ReadFile(file); err != nil || strings.Contains(string(stored), reader) {
		t.Errorf("the token itself is in the file: %v", err)
	}
	p := up(t, "DOUGONG_HTTP_TOKENS_FILE="+file)
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"none":           {nil, 401},
		"wrong":          {[]string{"Authorization", "Bearer dg_wrong"}, 401},
		"another's role": {[]string{"Authorization", "Bearer " + faulter}, 403},
		"the right one":  {[]string{"Authorization", "Bearer " + reader}, 200},
	} {
		if status, body := p.predict(miniRequest, c.header...); status != c.status {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _ := p.get(p.http + "/healthz"); status != 200 {
		t.Errorf("health needs a token: %d", status)
	}
	p.signal(15)
	p.exit()
	if log := p.stderr.String(); strings.Contains(log, reader) || strings.Contains(log, faulter) {
		t.Error("a token is in the log")
	}
}
