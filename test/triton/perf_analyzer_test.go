package triton

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// long is what a run has when DOUGONG_LONG is set; short is for everyday.
func long(short, long string) string {
	if os.Getenv("DOUGONG_LONG") != "" {
		return long
	}
	return short
}

var complaint = regexp.MustCompile(`(?i)error|fail|no valid requests`)

// TestPerfAnalyzerMeasuresUnchanged: Triton's load generator asks for metadata, configuration and statistics of the
// model, and ends with an error if one request fails.
func TestPerfAnalyzerMeasuresUnchanged(t *testing.T) {
	s := up(t)
	for _, protocol := range []string{"http", "grpc"} {
		address := map[string]string{"http": s.http, "grpc": s.grpc}[protocol]
		for _, batch := range []int{1, 128} {
			for _, callers := range strings.Fields(long("1 64", "1 4 16 64")) {
				table := filepath.Join(t.TempDir(), "perf.csv")
				out := run(t, "", nil, filepath.Join(clients(t), "bin", "perf_analyzer"), "-m", "loan-default", "-u", address, "-i", protocol,
					"-b", strconv.Itoa(batch), "--concurrency-range", callers, "-f", table,
					"-p", long("600", "3000"), "-s", "999", "-r", "3") // windows in ms; any three of them will do
				name := fmt.Sprintf("%s, %s at once, %d rows", protocol, callers, batch)
				if found := complaint.FindString(out); found != "" {
					t.Errorf("%s: %s\n%s", name, found, out)
				}
				rate := rateOf(t, table, callers)
				if rate <= 0 {
					t.Errorf("%s: %v rows a second\n%s", name, rate, out)
				}
				t.Logf("%s: %.0f rows a second", name, rate)
			}
		}
	}
	if succeeded, failed := counted(t, s); succeeded < 1000 || failed != 0 {
		t.Errorf("the server counted %d requests that succeeded and %d that failed", succeeded, failed)
	}
}

// rateOf reads the rows a second from perf_analyzer's table: a line for each number of callers.
func rateOf(t *testing.T, table, callers string) float64 {
	t.Helper()
	f, err := os.Open(table)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 2 || len(lines[0]) < 2 || lines[0][1] != "Inferences/Second" || lines[1][0] != callers {
		t.Fatalf("%q %v", lines, err)
	}
	rate, err := strconv.ParseFloat(lines[1][1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

// counted is what the server itself says.
func counted(t *testing.T, s server) (succeeded, failed int) {
	t.Helper()
	var stats struct {
		ModelStats []struct {
			InferenceStats struct {
				Success, Fail struct{ Count int }
			} `json:"inference_stats"`
		} `json:"model_stats"`
	}
	answer, err := http.Get("http://" + s.http + "/v2/models/loan-default/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		t.Fatal(err)
	}
	for _, m := range stats.ModelStats {
		succeeded += m.InferenceStats.Success.Count
		failed += m.InferenceStats.Fail.Count
	}
	return succeeded, failed
}
