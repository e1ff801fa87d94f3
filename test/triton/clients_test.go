package triton

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// python runs one of the scripts in clients/ and returns its lines. The last says how much was checked.
func python(t *testing.T, s server, script string, args ...string) (lines []string, checks int) {
	t.Helper()
	env := []string{"OIP_HTTP=" + s.http, "OIP_GRPC=" + s.grpc, "PYTHONDONTWRITEBYTECODE=1"}
	out := run(t, "clients", env, filepath.Join(clients(t), "bin", "python"), append([]string{script}, args...)...)
	lines = strings.Split(strings.TrimSpace(out), "\n")
	if _, err := fmt.Sscanf(lines[len(lines)-1], "%d checks", &checks); err != nil {
		t.Fatalf("%s did not come to its end:\n%s", script, tail(out))
	}
	return lines[:len(lines)-1], checks
}

// slow holds up each prediction of loan-lite.
func slow(t *testing.T, s server) {
	t.Helper()
	run(t, "", nil, program, "fault", "set", "slow", "--point", "inference.score", "--where", "model=loan-lite", "--delay", "2s", "--for", "5m", "--admin", "http://"+s.admin)
}

func TestAllRowsComeOutAsTheLibraryScoredThemInEachForm(t *testing.T) {
	lines, _ := python(t, up(t), "cases.py")
	const rows = 3*1000 + 301 // loan-default 1 and 2, loan-lite; loan-mini
	forms := 0
	for _, line := range lines {
		var form string
		var batched, alone int
		if _, err := fmt.Sscanf(line, "%s %d rows in batches, %d alone", &form, &batched, &alone); err != nil || batched != rows || alone < 800 {
			t.Errorf("%q: all %d rows were expected", line, rows)
		}
		forms++
	}
	if forms != 10 {
		t.Errorf("%d forms were tried: %q", forms, lines)
	}
}

func TestCallsOfTheHTTPClient(t *testing.T) {
	s := up(t)
	slow(t, s)
	if _, checks := python(t, s, "calls_http.py"); checks < 100 {
		t.Errorf("only %d things were checked", checks)
	}
}

func TestCallsOfTheGRPCClient(t *testing.T) {
	s := up(t)
	slow(t, s)
	if _, checks := python(t, s, "calls_grpc.py"); checks < 100 {
		t.Errorf("only %d things were checked", checks)
	}
}

func TestCallsOfTheAsynchronousClients(t *testing.T) {
	if _, checks := python(t, up(t), "calls_aio.py"); checks < 50 {
		t.Errorf("only %d things were checked", checks)
	}
}

func TestCallsOfKServesClients(t *testing.T) {
	if _, checks := python(t, up(t), "kserve_clients.py"); checks < 15 {
		t.Errorf("only %d things were checked", checks)
	}
}

var answered = regexp.MustCompile(`^over_(?:http|grpc): (\d+) at once: (\d+) answered$`)

func TestManyCallersAtOnceAreAnsweredRight(t *testing.T) {
	lines, _ := python(t, up(t), "many_at_once.py", long("0.4", "5"))
	if len(lines) != 8 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		match := answered.FindStringSubmatch(line)
		if match == nil {
			t.Fatalf("%q", line)
		}
		concurrency, _ := strconv.Atoi(match[1])
		if n, _ := strconv.Atoi(match[2]); n < concurrency {
			t.Errorf("%s: each caller must have had an answer", line)
		}
	}
}
