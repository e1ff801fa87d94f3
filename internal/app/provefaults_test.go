package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	provefault "github.com/dougong-io/dougong/prove/fault"
)

const aFaultPlan = `services:
  - name: shop
    admin: http://127.0.0.1:1
load:
  target: http://127.0.0.1:1
  scenarios:
    - steps: []
pairs: 0
faults:
  - name: slow
    rule: {point: bank.charge, delay: {fixed: -5ms}}
  - name: slow
    kill: true
`

func TestFaultsOfAPlanHaveTheirLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(file, []byte(aFaultPlan), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args         FaultPlanArgs
		want, wanted []string
	}{
		{FaultPlanArgs{Plan: file}, []string{
			":7:7: load.scenarios[0]: it has 0 steps", ":8:1: pairs: 0 is not between", ":11:40: faults[0].rule.delay.fixed: is negative",
			`:12:5: faults[1].name: "slow" is taken`, ":12:5: faults[1]: the plan does not start shop",
		}, nil},
		{FaultPlanArgs{Plan: file, Pairs: 6}, []string{":11:40: faults[0].rule.delay.fixed"}, []string{"pairs"}},
		{FaultPlanArgs{Plan: file, Pairs: 6, Window: 1}, []string{": window: 1ns is not between"}, []string{"pairs"}},
	} {
		_, err := ProveFaults(context.Background(), c.args, new(bytes.Buffer), new(LoadCleanup))
		if !errors.Is(err, ErrFaultPlan) {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), "\n"+file+want) {
				t.Errorf("%+v: %q is not in\n%v", c.args, want, err)
			}
		}
		for _, wanted := range c.wanted {
			if strings.Contains(err.Error(), wanted) {
				t.Errorf("%+v: %q is in\n%v", c.args, wanted, err)
			}
		}
	}
}

func TestAPlanIsNoResult(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"plan.yaml": {aFaultPlan, "plan.yaml is a plan, and no result: 'dougong prove faults "},
		"plan":      {"services: [{name: a}]\n", "is a plan, and no result"},
		"wrong.yml": {"servcies: 1\n", "is a plan, and no result"},
		"r.json":    {"{", "unexpected end of JSON input"},
		"empty":     {"", "unexpected end of JSON input"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := RenderFaults(file, FaultPlanArgs{}, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestFewPairsAreWarnedOfBeforeTheRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.yaml")
	plan := "services: [{name: a, admin: 'http://127.0.0.1:1'}]\nload: {target: 'http://127.0.0.1:1'}\nfaults: [{name: x, rule: {point: a.b, hang: {}}}]\n"
	if err := os.WriteFile(file, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	for pairs, warned := range map[int]bool{2: true, 5: true, 6: false} {
		var warnings bytes.Buffer
		_, err := ProveFaults(t.Context(), FaultPlanArgs{Plan: file, Pairs: pairs, Journal: t.TempDir(), Warnings: &warnings}, new(bytes.Buffer), new(LoadCleanup))
		if !errors.Is(err, provefault.ErrTarget) || strings.Contains(warnings.String(), "are too few to claim anything") != warned {
			t.Errorf("%d pairs: %v; %q", pairs, err, &warnings)
		}
	}
}

// A journal with nothing left to undo says so, and not its heading alone.
func TestUndoSaysThatNothingWasLeft(t *testing.T) {
	dir := t.TempDir()
	begun := `{"n":1,"at":"2026-01-01T00:00:00Z","op":"begin","version":1,"run":"a"}` + "\n"
	host, _ := os.Hostname()
	begun = strings.Replace(begun, `"run":"a"`, `"run":"a","host":"`+host+`"`, 1)
	if err := os.WriteFile(filepath.Join(dir, "20260101T000000Z-a.jsonl"), []byte(begun), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := UndoFaults(t.Context(), dir, &out); err != nil || !strings.Contains(out.String(), ":\n  nothing was left of it; its journal is closed\n") {
		t.Errorf("%v: %s", err, &out)
	}
	out.Reset()
	if err := UndoFaults(t.Context(), dir, &out); err != nil || out.String() != "nothing to undo\n" {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestWhatIsNoTerminalHasNoWidth(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if a, b := widthOf(file), widthOf(new(bytes.Buffer)); a != 0 || b != 0 {
		t.Error(a, b)
	}
}
