package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/breaker"
)

func TestBreakerPolicies(t *testing.T) {
	code, out, stderr := run(t, nil, "breaker", "presets")
	if code != 0 || strings.Join(strings.Fields(out), " ") != strings.Join(breaker.Presets(), " ") {
		t.Fatal(code, out, stderr)
	}
	code, search, stderr := run(t, nil, "breaker", "policy", "search")
	want, _ := breaker.Preset("search")
	if p, err := breaker.ParsePolicy([]byte(search)); code != 0 || err != nil || p.Conditions[0] != want.Conditions[0] {
		t.Fatal(code, search, stderr, err)
	}
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(strings.Replace(search, `"above": 0.3`, `"above": 30`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, nil, "breaker", "policy", file); code != 2 || !strings.Contains(stderr, "conditions[0].above: must be above 0 and below 1, is 30") {
		t.Error(code, stderr)
	}
	if code, _, stderr := run(t, nil, "breaker", "policy", "serach"); code != 2 || !strings.Contains(stderr, `"search"`) {
		t.Error(code, stderr)
	}
}

// What the curve says of a policy is what kit/breaker's own tests hold it to: 10 % opens seldom, 50 % soon.
func TestBreakerCurve(t *testing.T) {
	code, out, stderr := run(t, nil, "breaker", "curve", "search", "--rps", "2", "--failing", "0.1,0.5", "--budget", "300ms")
	if code != 0 {
		t.Fatal(code, stderr)
	}
	if !regexp.MustCompile(`(?m)^ +2 +10 % +(≤ [01]\.?\d* a month|0\.\d+ a month)`).MatchString(out) {
		t.Errorf("no line for 10 %% in\n%s", out)
	}
	if !regexp.MustCompile(`(?m)^ +2 +50 % +after \d\d(\.\d)? s, [2-5]\d calls`).MatchString(out) {
		t.Errorf("no line for 50 %% in\n%s", out)
	}
	for _, bad := range [][]string{{"--rps", "0"}, {"--failing", "1.1"}, {"--budget", "0s"}} {
		if code, _, _ := run(t, nil, append([]string{"breaker", "curve", "search"}, bad...)...); code != 2 {
			t.Errorf("%q: code %d", bad, code)
		}
	}
}
