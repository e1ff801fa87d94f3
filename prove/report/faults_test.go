package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nif that is how it should be: go test ./prove/report -update", path, got)
	}
}

func faultsHTML(t *testing.T, r *fault.Result) string {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteFaultsHTML(&buf, r); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestFaultsReadAsTheyShould(t *testing.T) {
	r := sampleFaults()
	for name, form := range map[string]func(io.Writer) error{
		"faults.md":      func(w io.Writer) error { return WriteFaultsMarkdown(w, r) },
		"faults-80.txt":  func(w io.Writer) error { return WriteFaultsText(w, r, 80) },
		"faults-160.txt": func(w io.Writer) error { return WriteFaultsText(w, r, 160) },
	} {
		var buf bytes.Buffer
		if err := form(&buf); err != nil {
			t.Fatal(err)
		}
		golden(t, name, buf.String())
	}
	_, rest, _ := strings.Cut(faultsHTML(t, r), `<main id="report">`)
	main, _, _ := strings.Cut(rest, "</main>")
	golden(t, "faults.html", main)
}

// What is no terminal has room for everything.
func TestTextWithoutATerminalIsWhole(t *testing.T) {
	r := sampleFaults()
	r.Rows[1].Name = "a name that is much longer than the column of names"
	var out bytes.Buffer
	if err := WriteFaultsText(&out, r, 0); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "   fault ") && (!strings.Contains(line, "Δ p50") || !strings.Contains(line, "hits")) {
			t.Errorf("a table of its own: %q", line)
		}
	}
	if strings.Contains(out.String(), "…") || !strings.Contains(out.String(), r.Rows[1].Name+"  ") {
		t.Errorf("cut:\n%s", &out)
	}
}

func TestHeadlineSaysOfWhatItCannotBeTold(t *testing.T) {
	row := func(v effect.Verdict, claims ...effect.Measure) fault.Row {
		return fault.Row{Kind: fault.KindRule, Status: fault.StatusMeasured, Effect: effect.Effect{Verdict: v, Claims: claims}}
	}
	few, none, some := row(effect.TooFew), row(effect.NotClaimed), row(effect.Claimed, effect.P50)
	for _, c := range []struct {
		rows []fault.Row
		want string
	}{
		{nil, "No fault was tried"},
		{[]fault.Row{few}, "Whether the fault had an effect cannot be told"},
		{[]fault.Row{few, few}, "Whether the 2 faults had an effect cannot be told"},
		{[]fault.Row{few, none, some}, "1 of 3 faults had an effect; of 1 it cannot be told"},
		{[]fault.Row{none, some}, "1 of 2 faults had an effect"},
		{[]fault.Row{some}, "The fault had an effect"},
		{[]fault.Row{none, {Kind: fault.KindControl}}, "No effect is claimed of the fault"},
	} {
		if got := headline(&fault.Result{Rows: c.rows}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestWhatNobodySawIsNotCalledUndetected(t *testing.T) {
	for _, c := range []struct {
		of         fault.Reactions
		text, note string
	}{
		{fault.Reactions{}, "–", ""},
		{fault.Reactions{Tries: 8, Bound: 3.5}, "not detected", "0 of 8, in 3.50\u00a0s"},
		{fault.Reactions{Tries: 5, Unknown: 3}, "not known", "0 of 8, 3 not known"},
		{fault.Reactions{Unknown: 8}, "not known", "0 of 8, 8 not known"},
		{fault.Reactions{Tries: 5, Seen: 1, Unknown: 3, Median: 0.35}, "0.35\u00a0s", "1 of 8, 3 not known"},
	} {
		if got := reaction(c.of, "not detected"); got.Text != c.text || got.Note != c.note {
			t.Errorf("%+v: %+v", c.of, got)
		}
	}
	r := sampleFaults()
	r.Rows[1].Detect.Unknown, r.Rows[1].Detect.Why = 3, "inference: /statusz: status 403"
	r.Rows[2].Detect.Steps = map[string]float64{"circuit open": 0.052}
	page := faultsHTML(t, r)
	for _, want := range []string{"in 3 windows it is not known whether it was detected: inference: /statusz: status 403", "circuit open, to 0.05\u00a0s"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestTextFitsItsTerminal(t *testing.T) {
	for _, width := range []int{60, 80, 100, 132, 200} {
		for _, line := range textTable(faultRows(sampleFaults()), width) {
			if n := len([]rune(strings.TrimRight(line, " "))); n > width {
				t.Errorf("%d cells in a terminal of %d: %q", n, width, line)
			}
		}
	}
}

func TestFaultsSurviveJSON(t *testing.T) {
	var first, second bytes.Buffer
	if err := WriteFaultsJSON(&first, sampleFaults()); err != nil {
		t.Fatal(err)
	}
	kept := first.String()
	back, err := ReadFaultsJSON(&first)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFaultsJSON(&second, back); err != nil {
		t.Fatal(err)
	}
	if second.String() != kept {
		t.Error("what was read is not what was written")
	}
	if faultsHTML(t, back) != faultsHTML(t, sampleFaults()) {
		t.Error("a page of what was read is another")
	}
	for _, broken := range []string{
		`{"schema":"dougong.load/1"}`, strings.Replace(kept, `"seed":20`, `"seed":20,"mood":"good"`, 1), kept + "{}", kept[:len(kept)/2], "",
	} {
		if _, err := ReadFaultsJSON(strings.NewReader(broken)); err == nil {
			t.Errorf("%.60q was read", broken)
		}
	}
}

// hostileFaults has hostile in every text.
func hostileFaults(hostile string) *fault.Result {
	r := sampleFaults()
	fillTexts(reflect.ValueOf(r).Elem(), hostile)
	r.Schema = fault.ResultSchema
	return r
}

func fillTexts(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(text)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fillTexts(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillTexts(v.Field(i), text)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fillTexts(v.Index(i), text)
		}
	}
}

func TestHostileFaultsStayText(t *testing.T) {
	hostile := "</script></title></style>\"'><img src=x onerror=alert(1)><!--{{.Data}}\n| \x1b[2J`x` **b** \u202e"
	r := hostileFaults(hostile)
	page := faultsHTML(t, r)
	for _, markup := range []string{"<img", "<!--<", "alert(1)>", "\"'><"} {
		if strings.Contains(page, markup) {
			t.Errorf("the page has the markup %s of a text", markup)
		}
	}
	if n := strings.Count(page, "</script>"); n != 2 {
		t.Errorf("%d ends of a script; want 2", n)
	}
	if n := strings.Count(page, "</style>"); n != 1 {
		t.Errorf("%d ends of a style; want 1", n)
	}
	var text, markdown bytes.Buffer
	if err := errors.Join(WriteFaultsText(&text, r, 100), WriteFaultsMarkdown(&markdown, r)); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"text": text.String(), "Markdown": markdown.String()} {
		if strings.ContainsAny(got, "\x1b\u202e") {
			t.Errorf("the %s can move the cursor", name)
		}
	}
	rows := 0
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(line, "|") {
			rows++
			if n := len(regexp.MustCompile(`[^\\]\|`).FindAllString(line, -1)); n != 11 {
				t.Errorf("%d cells in the row %s", n, line)
			}
		}
		if strings.Contains(line, "**b") || strings.Contains(line, " <img") {
			t.Errorf("a text became markup: %s", line)
		}
	}
	if want := len(r.Rows) + 2; rows != want {
		t.Errorf("%d rows; want %d", rows, want)
	}
}

func TestFaultsPageNamesNothingOutside(t *testing.T) {
	got := faultsHTML(t, sampleFaults())
	for _, fetches := range []string{`src=`, `@import`, `url\((?:[^#)])`, `href="[^"d]`, `\bfetch\(`, `XMLHttpRequest`, `sendBeacon`, `WebSocket\(`, `\bimport\(`} {
		if found := regexp.MustCompile(fetches).FindString(got); found != "" {
			t.Errorf("the page has %q, which may fetch from outside", found)
		}
	}
	if !strings.Contains(got, `content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"`) {
		t.Error("the policy is not in the page")
	}
	if strings.Contains(got, "ZgotmplZ") || strings.Contains(got, "<no value>") {
		t.Error("the template left something out")
	}
}

func TestOddFaultsAreReported(t *testing.T) {
	odd := sampleFaults()
	odd.Plan, odd.Rows, odd.Timeline, odd.Events, odd.Notes = nil, odd.Rows[:1], odd.Timeline[2:3], nil, nil
	one := sampleFaults()
	one.Rows, one.Seconds, one.PointSeconds, one.Timeline = one.Rows[1:2], math.MaxFloat64/1e10, 0, one.Timeline[:1]
	unknown := sampleFaults()
	unknown.End = ""
	for i := range unknown.Rows {
		unknown.Rows[i].Status, unknown.Rows[i].Kind, unknown.Rows[i].Effect = "", "", effect.Effect{Claims: []effect.Measure{"mood"}, Verdict: effect.Claimed}
	}
	for name, r := range map[string]*fault.Result{"empty": {}, "nothing measured": odd, "one": one, "unknown": unknown} {
		if page := faultsHTML(t, r); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
			t.Errorf("%s: the page draws what is no number", name)
		}
		var out bytes.Buffer
		if err := errors.Join(WriteFaultsText(&out, r, 0), WriteFaultsMarkdown(&out, r)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{"HTML": WriteFaultsHTML(io.Discard, nil), "JSON": WriteFaultsJSON(io.Discard, nil)} {
		if err == nil {
			t.Errorf("%s of nothing was written", name)
		}
	}
	full := failingWriter{}
	for name, err := range map[string]error{
		"HTML": WriteFaultsHTML(full, sampleFaults()), "text": WriteFaultsText(full, sampleFaults(), 80), "Markdown": WriteFaultsMarkdown(full, sampleFaults()),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var errFull = errors.New("disk full")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

func TestFiguresAreRoundedForPeople(t *testing.T) {
	difference := func(value, low, high float64) *effect.Difference {
		return &effect.Difference{Known: true, Off: 0.5, On: 0.5 + value, Value: value, Low: low, High: high}
	}
	for _, c := range []struct{ got, want string }{
		{change(difference(5.0123, 4.9612, 5.0734)).Text, "+5.01 ms"},
		{change(difference(5.0123, 4.9612, 5.0734)).Note, "+4.96 to +5.07"},
		{change(difference(1234.5, 1200, 1300)).Text, "+1,234 ms"},
		{change(difference(-0.0001, -0.01, 0.01)).Text, "0.00 ms"},
		{change(difference(0.0004, -0.0019, 0.0021)).Text, "0.000 ms"},
		{change(&effect.Difference{}).Text, "–"},
		{shares(difference(0.25, 0.2, 0.3)).Text, "50 → 75 %"},
		{shares(difference(0.25, 0.2, 0.3)).Note, "+20.0 to +30.0"},
		{percent(0.00000001), "<0.001"}, {percent(0.0005), "0.05"}, {percent(0.12345), "12.3"}, {percent(1), "100"}, {percent(0), "0"},
		{trimmed(0.0611), "0.062"}, {trimmed(0.05), "0.050"}, {trimmed(1234), "1,300"}, {trimmed(0), "0"},
		{took(0.347), "0.35\u00a0s"}, {took(12.34), "12.3\u00a0s"}, {took(125), "2m5s"},
		{names([]effect.Measure{effect.P50}), "p50"}, {names([]effect.Measure{effect.P50, effect.P99, effect.Lost}), "p50, p99 and lost requests"},
	} {
		if c.got != c.want {
			t.Errorf("%q; want %q", c.got, c.want)
		}
	}
}
