//go:build unix

package workercheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// doubler builds the worker of tests, once.
var doubler = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "doubler")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "doubler")
	out, err := exec.Command("go", "build", "-o", program, "../worker/testdata/doubler").CombinedOutput()
	if err != nil {
		err = &exec.Error{Name: string(out), Err: err}
	}
	return program, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := doubler(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

const doublerCases = `{"tolerance": 1e-6, "cases": [
	{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, null]}],
	 "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2, 4, 6, null]}]},
	{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0.5, 1e9, 7]}],
	 "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [0, 1, 2e9, 14]}]}],
	"slow": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-8, 1500, 0, 0]}]}`

func doublerModel(t *testing.T) (Command, Model) {
	t.Helper()
	program, err := doubler()
	if err != nil {
		t.Fatal(err)
	}
	cases, err := ReadCases(strings.NewReader(doublerCases))
	if err != nil {
		t.Fatal(err)
	}
	return Command{Path: program}, Model{Format: "doubler", Data: []byte("doubler v1: y = 2 x\n"), Options: map[string]string{"parallel": "on"}, Cases: cases}
}

// allPass fails with each result that did not.
func allPass(t *testing.T, results []Result) {
	t.Helper()
	for _, r := range results {
		t.Logf("%-32s %s %v", r.Name, r.Verdict, r.Took)
		if r.Verdict != Pass {
			t.Errorf("%s (%s): %s", r.Name, r.Why, r.Detail)
		}
	}
	if len(results) < 45 {
		t.Errorf("only %d checks", len(results))
	}
}

func TestAGoodWorkerPasses(t *testing.T) {
	command, model := doublerModel(t)
	reported := 0
	results, err := Run(t.Context(), command, model, func(Result) { reported++ })
	if err != nil {
		t.Fatal(err)
	}
	allPass(t, results)
	if reported != len(results) {
		t.Errorf("%d of %d were reported", reported, len(results))
	}
}

// TestLiarsAreFound: each breaks the protocol in one way, and the check for that says so. None of them makes the suite
// hang, or end early.
func TestLiarsAreFound(t *testing.T) {
	command, model := doublerModel(t)
	for i := range model.Cases.Cases { // liars answer y = x
		model.Cases.Cases[i].Outputs[0].Data = model.Cases.Cases[i].Inputs[0].Data
	}
	for kind, want := range map[string]struct{ check, detail string }{
		"honest, but for refusals": {"load/unknown-option", "LOAD was answered with LOADED; FAILURE 6 was expected"},
		"takes everything":         {"invalid/name", "answered as if it were right"},
		"another id":               {"calls/right", "ANSWER answers"},
		"another shape":            {"calls/right", "y is FP32 [1 2 2], not FP32 [1 4]"},
		"another name":             {"calls/right", `the answer has no "y"`},
		"malformed":                {"calls/right", "header at byte 4"},
		"twice":                    {"calls/right", "ANSWER answers 3, not 4"},
		"metadata":                 {"load/metadata", `LOADED: input "x" is FP32 [-1 5]; the case has FP32 [1 4]`},
		"no pong":                  {"ping/while-computing", "PING: no answer within 1s"},
		"outlives":                 {"end/control-idle", "it still runs after 1s"},
		"dies of signals":          {"end/signals", "after terminated"},
		"descriptors":              {"growth/thousand-calls", "descriptors and"},
		"crash":                    {"calls/right", "it closed the socket instead of answering"},
		"does not end":             {"drain/idle", "it still runs after"},
	} {
		if testing.Short() && kind == "does not end" { // waits for all its time
			continue
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := &suite{ctx: t.Context(), command: command, model: model}
			s.command.LoadWithin = patience
			s.command.Env = []string{"DOUGONG_TEST_LIE=" + kind}
			s.model.Slow = nil
			for _, one := range checks() {
				if one.name != want.check {
					continue
				}
				r := s.run(one)
				found := r.Verdict == Fail && strings.Contains(r.Detail, want.detail)
				if !found {
					t.Errorf("%s: %s %s; %q was expected", r.Name, r.Verdict, r.Detail, want.detail)
				}
				return
			}
			t.Errorf("there is no check %q", want.check)
		})
	}
}

func TestCasesAreRead(t *testing.T) {
	for text, want := range map[string]string{
		`{"cases": [`:     "unexpected EOF",
		`{"cases": []}`:   "there must be at least one",
		`{"no": 1}`:       `unknown field "no"`,
		`{"cases": [{}]}`: "inputs and outputs must be there",
		`{"cases": [{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}], "outputs": [{"name": "y", "datatype": "UINT8", "shape": [1], "data": [256]}]}]}`: "needs 8 bytes of data, not 4",
		`{"cases": [{"inputs": [{"name": "x", "datatype": "BOOL", "shape": [1], "data": [1]}], "outputs": []}]}`:                                                                "neither true nor false",
	} {
		if _, err := ReadCases(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; %q was expected", text, err, want)
		}
	}
	c, err := ReadCases(strings.NewReader(`{"cases": [{"inputs": [{"name": "s", "datatype": "BYTES", "shape": [2], "data": ["ab", ""]}, {"name": "i", "datatype": "INT16", "shape": [2], "data": [-2, 3]}],
		"outputs": [{"name": "b", "datatype": "BOOL", "shape": [], "data": [true]}, {"name": "d", "datatype": "FP64", "shape": [1], "data": [0.5]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	one := c.Cases[0]
	if string(one.Inputs[0].Data) != "\x02\x00\x00\x00ab\x00\x00\x00\x00" || string(one.Inputs[1].Data) != "\xfe\xff\x03\x00" || string(one.Outputs[0].Data) != "\x01" || string(one.Outputs[1].Data) != "\x00\x00\x00\x00\x00\x00\xe0\x3f" {
		t.Errorf("%+v", one)
	}
}

func TestProgramThatIsNoneIsAnError(t *testing.T) {
	_, model := doublerModel(t)
	if _, err := Run(t.Context(), Command{Path: "/nowhere/worker"}, model, nil); err == nil || !strings.Contains(err.Error(), "starting the worker") {
		t.Error(err)
	}
	results, err := Run(t.Context(), Command{Path: "/bin/false"}, model, nil)
	if err != nil || len(Failures(results)) != len(results) {
		t.Errorf("%v: %d of %d failed", err, len(Failures(results)), len(results))
	}
}
