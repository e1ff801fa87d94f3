package report

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/load"
)

// parsed is JUnit as a consumer reads it, apart from the types that write it.
type parsed struct {
	XMLName xml.Name `xml:"testsuites"`
	Tests   int      `xml:"tests,attr"`
	Suites  []struct {
		Name       string `xml:"name,attr"`
		Tests      int    `xml:"tests,attr"`
		Failures   int    `xml:"failures,attr"`
		Errors     string `xml:"errors,attr"`
		Skipped    int    `xml:"skipped,attr"`
		Timestamp  string `xml:"timestamp,attr"`
		Properties []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"properties>property"`
		Cases []struct {
			Class   string `xml:"classname,attr"`
			Name    string `xml:"name,attr"`
			Time    string `xml:"time,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
				Type    string `xml:"type,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
			Skipped *struct {
				Message string `xml:"message,attr"`
			} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func junit(t *testing.T, r *load.Result) (parsed, string) {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteJUnit(&buf, r); err != nil {
		t.Fatal(err)
	}
	text := buf.String()
	var p parsed
	if err := xml.Unmarshal(buf.Bytes(), &p); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if len(p.Suites) != 1 || p.Suites[0].Tests != len(p.Suites[0].Cases) || p.Tests != p.Suites[0].Tests || p.Suites[0].Errors != "0" {
		t.Fatalf("counts of suites or cases are wrong in\n%s", text)
	}
	return p, text
}

func TestJUnitHasACaseAnObjective(t *testing.T) {
	p, text := junit(t, sample())
	suite := p.Suites[0]
	if suite.Failures != 1 || suite.Skipped != 1 || suite.Tests != 4 || suite.Timestamp != "2026-11-20T09:30:00" {
		t.Errorf("%d of %d failed and %d skipped at %s; want 1 of 4, and 1:\n%s", suite.Failures, suite.Tests, suite.Skipped, suite.Timestamp, text)
	}
	if !strings.HasPrefix(text, xml.Header) {
		t.Error("no XML header")
	}
	byName := map[string]int{}
	for i, c := range suite.Cases {
		byName[c.Name] = i
		if c.Class == "" || c.Time == "" {
			t.Errorf("case %q has no class or time", c.Name)
		}
	}
	failed := suite.Cases[byName["p99<50ms"]]
	if failed.Failure == nil || failed.Failure.Message != "p99<50ms: measured 400 ms, bound 50 ms" || failed.Skipped != nil {
		t.Errorf("the objective that did not hold: %+v", failed.Failure)
	}
	unsure := suite.Cases[byName["errors<1%"]]
	if unsure.Skipped == nil || unsure.Skipped.Message != "inconclusive: errors<1%: measured 25 %, bound 1 %; 4 requests are too few" || unsure.Failure != nil {
		t.Errorf("the objective that could not be judged: %+v", unsure.Skipped)
	}
	held := suite.Cases[byName["rate>1"]]
	if held.Name != "rate>1" || held.Failure != nil || held.Skipped != nil {
		t.Errorf("the objective that held: %+v", held)
	}
	properties := map[string]string{}
	for _, property := range suite.Properties {
		properties[property.Name] = property.Value
	}
	if properties["target"] != "http://127.0.0.1:8080" || properties["breakpoint"] != "5" || properties["verdict"] != "fail" {
		t.Errorf("properties %v", properties)
	}
}

func TestJUnitOfAnInterruptedRunFails(t *testing.T) {
	r := sample()
	r.End, r.SLO, r.Verdict = load.EndInterrupted, nil, load.VerdictNone
	p, text := junit(t, r)
	if c := p.Suites[0].Cases; len(c) != 1 || c[0].Failure == nil || c[0].Failure.Message != "interrupted after 2s of load, with 1 of 5 requests unfinished" || !strings.Contains(c[0].Failure.Text, "late in 1 of 2 s") {
		t.Errorf("an interrupted run passes, or does not say why:\n%s", text)
	}
}

func TestJUnitNeverLooksBetterThanTheRun(t *testing.T) {
	r := sample()
	for i := range r.SLO {
		r.SLO[i].Verdict = load.VerdictPass
	}
	for verdict, want := range map[load.Verdict][2]int{load.VerdictPass: {0, 0}, load.VerdictFail: {1, 0}, load.VerdictInconclusive: {0, 1}} {
		r.Verdict = verdict
		if p, text := junit(t, r); p.Suites[0].Failures != want[0] || p.Suites[0].Skipped != want[1] {
			t.Errorf("a run that is %s:\n%s", verdict, text)
		}
	}
}

func TestJUnitEscapesWhatItIsGiven(t *testing.T) {
	r := sample()
	r.Target = "http://a/?x=1&y=\"<b>\""
	r.SLO[0].SLO = "]]>\x00<failure/>\ufffe"
	p, text := junit(t, r)
	if p.Suites[0].Name != "dougong load "+r.Target || p.Suites[0].Cases[1].Name != "]]>\ufffd<failure/>\ufffd" {
		t.Errorf("names did not come through:\n%s", text)
	}
}
