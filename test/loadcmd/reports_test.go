package loadcmd

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	dougongload "github.com/dougong-io/dougong/prove/load"
)

// readReports reads r.json, r.csv, r.xml and r.html of dir, and expects that they agree.
func readReports(t *testing.T, dir string) *dougongload.Result {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	r := new(dougongload.Result)
	if err := json.Unmarshal(read("r.json"), r); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(read("r.csv"))).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("CSV of %d rows: %v", len(rows), err)
	}
	sums := map[string]uint64{}
	for _, row := range rows[1:] {
		for i, column := range rows[0] {
			if n, err := strconv.ParseUint(row[i], 10, 64); err == nil {
				sums[column] += n
			}
		}
	}
	if sums["due"] != r.Total.Due || sums["ok"] != r.Total.OK || sums["unfinished"] != r.Total.Unfinished || sums["bytes_in"] != r.Total.BytesIn {
		t.Errorf("the CSV adds up to %v, the JSON says due %d, ok %d, unfinished %d, %d bytes in", sums, r.Total.Due, r.Total.OK, r.Total.Unfinished, r.Total.BytesIn)
	}
	var suites struct {
		Suites []struct {
			Properties []struct {
				Name  string `xml:"name,attr"`
				Value string `xml:"value,attr"`
			} `xml:"properties>property"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(read("r.xml"), &suites); err != nil || len(suites.Suites) != 1 {
		t.Fatalf("JUnit with %d suites: %v", len(suites.Suites), err)
	}
	properties := map[string]string{}
	for _, p := range suites.Suites[0].Properties {
		properties[p.Name] = p.Value
	}
	if properties["due"] != strconv.FormatUint(r.Judged.Due, 10) || properties["ok"] != strconv.FormatUint(r.Judged.OK, 10) || properties["verdict"] != string(r.Verdict) {
		t.Errorf("JUnit says %v, the JSON judges %d due, %d ok, %s", properties, r.Judged.Due, r.Judged.OK, r.Verdict)
	}
	match := regexp.MustCompile(`(?s)<script[^>]*type="application/json"[^>]*>(.*?)</script>`).FindSubmatch(read("r.html"))
	if match == nil {
		t.Fatal("the HTML holds no result")
	}
	inPage := new(dougongload.Result)
	if err := json.Unmarshal(match[1], inPage); err != nil {
		t.Fatal(err)
	}
	if inPage.Total.Due != r.Total.Due || inPage.Total.OK != r.Total.OK || inPage.Total.Latency.Max() != r.Total.Latency.Max() {
		t.Errorf("the HTML says due %d, ok %d", inPage.Total.Due, inPage.Total.OK)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 {
		t.Errorf("there is more than four reports: %v", entries)
	}
	return r
}

func TestReportsAgreeAndCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, stdout, _ := loadIn(t, dir, good(t), "--plan", certain(t), "--steps", "100:+100/500ms:300", "--slo", "p90<4s", "--slo", "errors<=0%",
		"--json", "r.json", "--csv", "r.csv", "--junit", "r.xml", "--report", "r.html")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	r := readReports(t, dir)
	if r.Total.Due != 300 || r.Total.OK != 300 || r.Judged.Due != 300 || len(r.Stages) != 3 || r.Verdict != "pass" || r.LateSeconds != 0 {
		t.Errorf("due %d, good %d, judged %d, %d stages, %s, %v s late", r.Total.Due, r.Total.OK, r.Judged.Due, len(r.Stages), r.Verdict, r.LateSeconds)
	}
	if !strings.Contains(stdout, "due 300   good 300   failed 0") {
		t.Error("the summary says otherwise")
	}

	schemaCode, schema, _ := load(t, "schema")
	if schemaCode != 0 {
		t.Errorf("schema: exit code %d", schemaCode)
	}
	validate(t, schema, filepath.Join(dir, "r.json"))

	again := t.TempDir()
	code, stdout, _ = loadIn(t, again, "report", filepath.Join(dir, "r.json"), "--json", "r.json", "--csv", "r.csv", "--junit", "r.xml", "--report", "r.html")
	if code != 0 || stdout != "" {
		t.Fatalf("report: exit code %d", code)
	}
	for _, name := range []string{"r.json", "r.csv", "r.xml", "r.html"} {
		first, err1 := os.ReadFile(filepath.Join(dir, name))
		second, err2 := os.ReadFile(filepath.Join(again, name))
		if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
			t.Errorf("%s came out differently the second time: %v %v", name, err1, err2)
		}
	}
}

func validate(t *testing.T, schema, file string) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(instance); err != nil {
		t.Errorf("%s is not what the schema says: %v", file, err)
	}
	// The schema can refuse.
	instance.(map[string]any)["loop"] = "spiral"
	if compiled.Validate(instance) == nil {
		t.Error("the schema takes anything")
	}
}

// TestPrintedPlanRuns: what `dougong load plan` prints is a plan, and the one of the flags that it shows.
func TestPrintedPlanRuns(t *testing.T) {
	t.Parallel()
	code, text, _ := load(t, "plan")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, change := range [][2]string{{"target: http://127.0.0.1:8080/healthz", "target: " + good(t)}, {`length: "10s"`, `length: "1s"`}} {
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("the plan does not have one %q:\n%s", change[0], text)
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	dir := t.TempDir()
	if code, _, _ := loadIn(t, dir, "--plan", write(t, "plan.yaml", text), "--json", "r.json"); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	data, err := os.ReadFile(filepath.Join(dir, "r.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r dougongload.Result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Total.Due != 200 || r.Total.OK != 200 {
		t.Errorf("due %d, good %d, want 200", r.Total.Due, r.Total.OK)
	}
}
