package cli

import (
	"strings"
	"testing"
)

func TestReportGivenTwiceIsRefused(t *testing.T) {
	for _, command := range [][]string{
		{"load"}, // none of which would begin without it
		{"load", "report", "none.json"},
		{"prove", "faults", "none.yaml"},
		{"prove", "faults", "report", "none.json"},
	} {
		flags := []string{"report", "json", "csv", "junit"}
		if command[0] == "prove" {
			flags = []string{"report", "json", "markdown"}
		}
		for _, flag := range flags {
			args := append(append([]string{}, command...), "--"+flag, "a.out", "--"+flag+"=b.out")
			code, _, stderr := dougong(args...)
			if want := `invalid argument "b.out" for "--` + flag + `" flag: it was "a.out" before; give it once`; code != exitUsage || !strings.Contains(stderr, want) {
				t.Errorf("%v: exit code %d, want %q in: %s", args, code, want, stderr)
			}
		}
	}
}

func TestReportFlagsLookLikeOthers(t *testing.T) {
	_, stdout, _ := dougong("load", "--help")
	if !strings.Contains(stdout, "--report string ") || strings.Contains(stdout, `(default "")`) {
		t.Error(stdout)
	}
}
