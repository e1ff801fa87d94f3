package loadcmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	dougongload "github.com/dougong-io/dougong/prove/load"
)

func readJSON(t *testing.T, file string) *dougongload.Result {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dougongload.Result)
	if err := json.Unmarshal(data, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPredictionsAreCheckedAgainstTheirRows: every row of the reference data once, with the answer that the library
// that trained the model gave.
func TestPredictionsAreCheckedAgainstTheirRows(t *testing.T) {
	t.Parallel()
	target := "http://" + up(t) + "/v1/predict"
	for _, c := range []struct {
		model, columns, expected string
		rows                     uint64
	}{
		{"loan-mini", "int_rate..revol_util", "expected", 301},
		{"loan-default", "funded_amnt..state_WY", "full", 1000},
	} {
		out := filepath.Join(t.TempDir(), "r.json")
		args := []string{target, "--plan", certain(t), "--rate", "800", "--for", "10s",
			"--rows", filepath.Join(root(t), "examples/data", c.model, "cases.csv"), "--rows-order", "once",
			"--body", `{"model":"` + c.model + `","input":[{{` + c.columns + `|json}}]}`,
			"--json", out}
		code, _, _ := load(t, append(args, "--check", "json $.output[0] == {{"+c.expected+"}} ± 1e-6", "--slo", "errors<=0%")...)
		r := readJSON(t, out)
		if code != 0 || r.Total.OK != c.rows || r.Total.Due != c.rows {
			t.Errorf("%s: exit code %d, of %d due %d good, want all %d; %v", c.model, code, r.Total.Due, r.Total.OK, c.rows, r.Errors)
		}
	}
}

// TestCheckOfTheWrongColumnFails: the test above could not pass whatever the answer is.
func TestCheckOfTheWrongColumnFails(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "r.json")
	code, _, _ := load(t, "http://"+up(t)+"/v1/predict", "--plan", certain(t), "--rate", "100", "--for", "1s",
		"--rows", filepath.Join(root(t), "examples/data/loan-mini/cases.csv"),
		"--body", `{"model":"loan-mini","input":[{{int_rate..revol_util|json}}]}`,
		"--check", "json $.output[0] == {{int_rate}} ± 1e-6", "--slo", "errors<=0%", "--json", out)
	if r := readJSON(t, out); code != 1 || r.Total.Failed["check"] != 100 || r.Total.Status["200"] != 100 {
		t.Errorf("exit code %d, failed %v, answers %v", code, r.Total.Failed, r.Total.Status)
	}
}
