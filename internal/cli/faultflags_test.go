package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
)

// process is the admin port of a process with two points.
func process(t *testing.T) (*fault.Set, string) {
	t.Helper()
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	set.Point(fault.Def{Name: "bank.charge", Attrs: []string{"tenant"}, Effects: fault.Call})
	set.Point(fault.Def{Name: "bank.refund", Effects: fault.Bytes})
	mux := http.NewServeMux()
	for pattern, handler := range faultadmin.Routes(set, fault.Admin) {
		mux.Handle(pattern, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return set, server.URL
}

// dougong runs a command line.
func dougong(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, &out, &err)
	return code, out.String(), err.String()
}

func TestFaultSetSpeaksOfFlags(t *testing.T) {
	set, admin := process(t)
	for _, c := range []struct {
		args string
		code int
		want []string // lines, whole
	}{
		{"--point bank.charge --for 1m --delay -5ms", 2, []string{"--delay: is negative"}},
		{"--point bank.charge --for 1m --delay 2ms --jitter -5ms --delay-min -1ms", 2, []string{"--jitter: is negative", "--delay-min: is negative"}},
		{"--point bank.charge --for -1m --delay 5ms", 2, []string{"--for: -1m0s is not above 0"}},
		{"--point bank.charge --delay 5ms", 2, []string{"--for: is missing: every rule ends by itself"}},
		{"--point bank.charge --for 1m --delay 5ms --jitter 7ms", 2, []string{"--jitter: 7ms is more than fixed, 5ms"}},
		{"--point bank.charge --for 1m --probability 2 --burn 0s", 2, []string{"--probability: 2 is not above 0 and at most 1; leave it out for always", "--burn: must be above 0"}},
		{"--for 1m --hang", 2, []string{"--point: is missing; * is every point"}},
		{"--point bank.charge --for 1m --http-status 7", 2, nil},
		{"--point bank.charge --for 300h --delay 5ms", 1, []string{"dougong: the rule is beyond the ceiling of the process, faults.ceiling in its configuration:", "--for: is 300h0m0s; the ceiling is 1h0m0s"}},
		{"--point bank.charge --for 1m --delay 5h", 1, []string{"dougong: the rule is beyond the ceiling of the process, faults.ceiling in its configuration:", "--delay: is up to 5h0m0s; the ceiling is 1m0s"}},
		{"--point bank.chrage --for 1m --delay 5ms", 1, []string{
			"dougong: r is set, but strikes nothing: no point is called bank.chrage; did you mean bank.charge?",
			"'dougong fault points' lists what there is, 'dougong fault clear r' takes it away",
		}},
		{"--point bank.charge --for 1m --drop", 1, []string{
			"dougong: r is set, but strikes nothing: the point bank.charge cannot drop",
			"'dougong fault points' lists what there is, 'dougong fault clear r' takes it away",
		}},
		{"--point bank.charge --for 1m --dealy 5ms", 2, []string{"unknown flag: --dealy; did you mean --delay?", "run 'dougong fault set --help' for what it takes"}},
		{"--point bank.charge --for 1m --colour red", 2, []string{
			"unknown flag: --colour; there are --admin, --burn, --ca, --cause, --corrupt, --corrupt-length, --corrupt-offset, --count, --delay, --delay-max, --delay-min, --distribution, --drop, --error, --every, --for, " +
				"--goroutines, --grpc-status, --hang, --http-status, --jitter, --leak, --memory, --message, --panic, --plaintext-token, --point, --probability, --retry-after, --skew, --skip, --token-file, --truncate, --where",
			"run 'dougong fault set --help' for what it takes",
		}},
		{"--point bank.charge --for 1m --delay 5ms", 0, nil},
	} {
		code, _, stderr := dougong(append([]string{"fault", "set", "r", "--admin", admin}, strings.Fields(c.args)...)...)
		if code != c.code || c.want != nil && stderr != strings.Join(c.want, "\n")+"\n" {
			t.Errorf("%s: exit code %d, want %d; it says\n%s", c.args, code, c.code, stderr)
		}
		if strings.Contains(stderr, "rules[") || strings.Contains(stderr, "delay.") {
			t.Errorf("%s: it speaks of documents: %s", c.args, stderr)
		}
	}
	if rules := set.Status().Rules; len(rules) != 1 || rules[0].State != fault.Active {
		t.Errorf("%+v", rules)
	}
}

func TestTokensInPlainTextAreRefusedAsAMistakeOfTheCommand(t *testing.T) {
	token := filepath.Join(t.TempDir(), "none")
	for _, command := range [][]string{
		{"list"}, {"points"}, {"set", "r", "--point", "a.b", "--for", "1m", "--drop"}, {"clear"}, {"clear", "a", "b"}, {"kill"}, {"release"},
	} {
		args := append(append([]string{"fault"}, command...), "--admin", "http://192.0.2.1:9090", "--token-file", token)
		if code, _, stderr := dougong(args...); code != exitUsage || !strings.Contains(stderr, "the token would go to 192.0.2.1 over http") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
		if code, _, stderr := dougong(append(args, "--plaintext-token")...); code != exitFailure || !strings.Contains(stderr, token) {
			t.Errorf("%v, allowed: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestFaultCheckWarnsOfRulesThatStrikeNothing(t *testing.T) {
	_, admin := process(t)
	file := filepath.Join(t.TempDir(), "rules.json")
	text := fmt.Sprintf(`{"version": 1, "rules": [
		{"id": "good", "point": "bank.*", "for": "1m", "delay": {"fixed": "5ms"}},
		{"id": "old", "point": "bank.charge", "expires": %q, "delay": {"fixed": "5ms"}},
		{"id": "odd", "point": "bank.refnud", "for": "1m", "drop": {}}
	]}`, time.Now().Add(-3*time.Hour).Format(time.RFC3339))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	expired := "warning: " + file + ": rules[1] (old): expired 3h0m0s ago: it strikes nothing any more\n"
	code, stdout, stderr := dougong("fault", "check", file)
	if code != 0 || !strings.Contains(stdout, "3 rules, good for 'dougong fault apply'") || strings.ReplaceAll(stderr, "3h0m1s", "3h0m0s") != expired {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	code, _, stderr = dougong("fault", "check", file, "--admin", admin)
	want := expired + "warning: " + file + ": rules[2] (odd): strikes nothing there: no point is called bank.refnud; did you mean bank.refund?\n"
	if code != 0 || strings.ReplaceAll(stderr, "3h0m1s", "3h0m0s") != want {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr = dougong("fault", "check", file, "--admin", "127.0.0.1:1"); code != 1 || !strings.Contains(stderr, "the rules are good, but the points are not known") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
