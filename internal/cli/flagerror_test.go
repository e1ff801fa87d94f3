package cli

import (
	"strings"
	"testing"
)

func TestUnknownFlagIsAnsweredWithTheNearestOrAll(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // first line
		more bool   // follows in it
	}{
		{"load http://127.0.0.1:1 --duration 5s", "unknown flag: --duration; there are --allow-remote, --binary, --body, ", true},
		{"load http://127.0.0.1:1 --conections 5", "unknown flag: --conections; did you mean --connections?", false},
		{"load http://127.0.0.1:1 --bodyFile x", "unknown flag: --bodyFile; did you mean --body-file?", false},
		{"load report x --jsn y", "unknown flag: --jsn; did you mean --json?", false},
		{"up --confg x", "unknown flag: --confg; did you mean --config?", false},
		{"up --port 80", "unknown flag: --port; there are --config", true},
		{"load -z 5", "unknown shorthand flag: 'z' in -z; there are --allow-remote, ", true},
		{"token create --nmae x", "unknown flag: --nmae; did you mean --name?", false},
		{"breaker curve search --prs 3", "unknown flag: --prs; did you mean --rps?", false},
		{"prove faults plan.yaml --pears 3", "unknown flag: --pears; did you mean --pairs?", false},
		{"load http://127.0.0.1:1 --for", "flag needs an argument: --for", false},
	} {
		code, _, stderr := dougong(strings.Fields(c.args)...)
		first, rest, _ := strings.Cut(stderr, "\n")
		if code != exitUsage || !strings.HasPrefix(first, c.want) || !c.more && first != c.want || !strings.HasPrefix(rest, "run 'dougong ") {
			t.Errorf("%s: exit code %d, it says\n%s", c.args, code, stderr)
		}
	}
}

// TestAllFlagsAreListed: none is left out, with a short form or without.
func TestAllFlagsAreListed(t *testing.T) {
	_, _, stderr := dougong("load", "--xxxxxxxxxxxx")
	_, help, _ := dougong("load", "--help")
	_, help, _ = strings.Cut(help, "\nFlags:\n")
	n := 0
	for line := range strings.Lines(help) {
		_, flag, ok := strings.Cut(line, "--")
		if !ok || !strings.HasPrefix(line, "  ") {
			continue
		}
		flag, _, _ = strings.Cut(flag, " ")
		n++
		if flag != "help" && !strings.Contains(stderr+",", "--"+flag+",") && !strings.Contains(stderr, "--"+flag+"\n") {
			t.Errorf("--%s is not listed: %s", flag, stderr)
		}
	}
	if n < 30 {
		t.Errorf("only %d flags", n)
	}
}
