package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// The elements and attributes that CI servers agree on; there is no standard.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitOutcome `xml:"failure"`
	Skipped *junitOutcome `xml:"skipped"`
}

type junitOutcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a test suite with a case an objective, and one that the run came to its end. An objective that
// did not hold is a failure, one that could not be judged is skipped, with the numbers in the message. A verdict
// that no objective explains has a case of its own, so that the suite never looks better than the run.
func WriteJUnit(w io.Writer, r *load.Result) error {
	suite := junitSuite{
		Name:      "dougong load " + r.Target,
		Time:      seconds(r.Seconds),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
		Properties: []junitProperty{
			{"target", r.Target}, {"protocol", string(r.Protocol)}, {"loop", string(r.Loop)}, {"verdict", string(r.Verdict)},
			{"due", strconv.FormatUint(r.Judged.Due, 10)}, {"ok", strconv.FormatUint(r.Judged.OK, 10)},
			{"late_seconds", seconds(r.LateSeconds)},
		},
	}
	if r.Breakpoint != nil {
		suite.Properties = append(suite.Properties, junitProperty{"breakpoint", decimal(r.Breakpoint.Rate)})
	}
	suite.Cases = append(suite.Cases, endCase(r))
	explained := r.Verdict == load.VerdictNone || r.Verdict == load.VerdictPass
	for _, objective := range r.SLO {
		suite.Cases = append(suite.Cases, objectiveCase(objective))
		explained = explained || objective.Verdict == r.Verdict
	}
	if !explained {
		suite.Cases = append(suite.Cases, verdictCase(r))
	}
	for _, c := range suite.Cases {
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
	suite.Tests = len(suite.Cases)
	all := junitSuites{Name: "dougong load", Tests: suite.Tests, Failures: suite.Failures, Skipped: suite.Skipped, Time: suite.Time, Suites: []junitSuite{suite}}
	data, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write result as JUnit: %w", err)
	}
	if _, err := io.WriteString(w, xml.Header+string(data)+"\n"); err != nil {
		return fmt.Errorf("write result as JUnit: %w", err)
	}
	return nil
}

const junitClass = "dougong.load"

func endCase(r *load.Result) junitCase {
	c := junitCase{Class: junitClass, Name: "the run came to its end", Time: seconds(r.Seconds)}
	if r.End != load.EndFinished {
		message := fmt.Sprintf("%s after %s of load, with %d of %d requests unfinished", r.End, time.Duration(r.Seconds*float64(time.Second)).Round(time.Millisecond), r.Total.Unfinished, r.Total.Due)
		c.Failure = &junitOutcome{Message: message, Type: string(r.End), Text: notes(message, r.Notes)}
	}
	return c
}

func objectiveCase(s load.SLOResult) junitCase {
	c := junitCase{Class: junitClass + ".slo", Name: s.SLO, Time: seconds(0)}
	measured := fmt.Sprintf("%s: measured %s, bound %s", s.SLO, inUnit(s.Value, s.Unit), inUnit(s.Bound, s.Unit))
	switch s.Verdict {
	case load.VerdictPass:
	case load.VerdictFail:
		c.Failure = &junitOutcome{Message: measured, Type: "slo", Text: measured}
	default:
		if s.Reason != "" {
			measured += "; " + s.Reason
		}
		c.Skipped = &junitOutcome{Message: string(s.Verdict) + ": " + measured}
	}
	return c
}

func verdictCase(r *load.Result) junitCase {
	c := junitCase{Class: junitClass, Name: "verdict", Time: seconds(0)}
	message := "the verdict over the whole run is: " + string(r.Verdict)
	if r.Verdict == load.VerdictFail {
		c.Failure = &junitOutcome{Message: message, Type: "verdict", Text: notes(message, r.Notes)}
	} else {
		c.Skipped = &junitOutcome{Message: notes(message, r.Notes)}
	}
	return c
}

func notes(message string, notes []string) string {
	return strings.Join(append([]string{message}, notes...), "\n")
}

func inUnit(v float64, unit string) string {
	switch unit {
	case "share":
		return decimal(v*100) + " %"
	case "rps":
		return decimal(v) + "/s"
	default:
		return decimal(v) + " " + unit
	}
}

// decimal writes v with four significant digits, or all before the point.
func decimal(v float64) string {
	if v >= 1000 || v <= -1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	text := strconv.FormatFloat(v, 'g', 4, 64)
	return text
}

func seconds(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }
