package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/load"
)

func TestResultComesBackAsItWasWritten(t *testing.T) {
	for name, want := range map[string]*load.Result{"everything": sample(), "nothing": {Schema: load.ResultSchema}} {
		var buf bytes.Buffer
		if err := WriteJSON(&buf, want); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(buf.String(), "\n"); n != 1 || !strings.HasSuffix(buf.String(), "\n") {
			t.Errorf("%s: %d line ends; want one, at the end", name, n)
		}
		got, err := ReadJSON(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(plain(t, got), plain(t, want)) {
			t.Errorf("%s: read %+v, wrote %+v", name, got, want)
		}
	}
}

// plain is a result as its JSON tells it: histograms that hold the same may lie differently in memory.
func plain(t *testing.T, r *load.Result) (doc any) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestReadJSONRefuses(t *testing.T) {
	change := func(edit func(doc map[string]any)) string {
		doc := document(sample())
		edit(doc)
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	whole := change(func(map[string]any) {})
	for name, c := range map[string]struct{ text, want string }{
		"nothing":              {"", "unexpected end"},
		"half a result":        {whole[:len(whole)/2], "unexpected end"},
		"two results":          {whole + whole, "after top-level value"},
		"no object":            {"[]", "cannot unmarshal array"},
		"a result of no kind":  {"{}", `schema is ""; this version reads "dougong.load/1"`},
		"a later schema":       {change(func(doc map[string]any) { doc["schema"] = "dougong.load/2"; doc["news"] = 1 }), `schema is "dougong.load/2"`},
		"an unknown field":     {change(func(doc map[string]any) { doc["news"] = 1 }), `unknown field "news"`},
		"one deep down":        {change(func(doc map[string]any) { doc["total"].(map[string]any)["news"] = 1 }), `unknown field "news"`},
		"a false histogram":    {change(func(doc map[string]any) { doc["total"].(map[string]any)["latency"].(map[string]any)["count"] = 9 }), "count is 9, the buckets hold 3"},
		"a duration of no use": {change(func(doc map[string]any) { doc["plan"].(map[string]any)["timeout"] = "soon" }), `"soon" is no duration`},
	} {
		if _, err := ReadJSON(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read result: ") {
			t.Errorf("%s: error %v; want one that says %q", name, err, c.want)
		}
	}
}

func TestReadJSONStopsAtItsLimit(t *testing.T) {
	var buf bytes.Buffer
	if err := WriteJSON(&buf, sample()); err != nil {
		t.Fatal(err)
	}
	size := int64(buf.Len())
	if _, err := read[load.Result](bytes.NewReader(buf.Bytes()), load.ResultSchema, size); err != nil {
		t.Errorf("a result of the largest size: %v", err)
	}
	if _, err := read[load.Result](bytes.NewReader(buf.Bytes()), load.ResultSchema, size-1); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a result a byte too large: %v", err)
	}
}

func TestWhatCannotBeWrittenIsSaid(t *testing.T) {
	r := sample()
	r.Breakpoint.Precision = math.Inf(1)
	if err := WriteJSON(new(bytes.Buffer), r); err == nil {
		t.Error("an infinite number was written as JSON")
	}
	if err := WriteHTML(new(bytes.Buffer), r); err == nil {
		t.Error("an infinite number was written into a page")
	}
	if err := WriteJSON(new(bytes.Buffer), nil); err == nil {
		t.Error("no result was written as JSON")
	}
	full := errors.New("disk full")
	for name, write := range map[string]func() error{
		"json":  func() error { return WriteJSON(failing{full}, sample()) },
		"csv":   func() error { return WriteCSV(failing{full}, sample()) },
		"junit": func() error { return WriteJUnit(failing{full}, sample()) },
		"html":  func() error { return WriteHTML(failing{full}, sample()) },
	} {
		if err := write(); !errors.Is(err, full) {
			t.Errorf("%s: error %v; want that of the writer", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzReadJSON(f *testing.F) {
	// Small seeds: the fuzzer spends its time shrinking large ones.
	for _, rest := range []string{
		`}`,
		`,"intervals":[{"late":true,"latency":{"count":1,"min_ns":7,"max_ns":7,"sum_ns":7,"sub_buckets":256,"buckets":[7,1]}}]}`,
		`,"slo":[{"slo":"\u0000<&\ufffe","verdict":"fail"}],"end":"]]></script>","plan":null}`,
		`,"total":{"failed":{"status":3},"status":{"503":3}},"started":"2026-11-20T09:30:00Z"}`,
		`,"breakpoint":{"rate":5,"trials":[{"due":1}]},"verdict":"inconclusive","notes":["late"]}`,
		`,"plan":{"timeout":"1.5s","open":{"stages":[{"length":"10s"}]}}}`,
	} {
		f.Add([]byte(`{"schema":"dougong.load/1"` + rest))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := ReadJSON(bytes.NewReader(data))
		if err != nil {
			return
		}
		var once, twice, page, other bytes.Buffer
		if err := WriteJSON(&once, first); err != nil {
			t.Skip(err) // such as a year above 9999
		}
		second, err := ReadJSON(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if err := WriteJSON(&twice, second); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("written again it differs:\n%s\n%s", once.Bytes(), twice.Bytes())
		}
		if err := WriteHTML(&page, first); err != nil {
			t.Error(err)
		}
		if got := strings.Count(strings.ToLower(page.String()), "</script"); got != 2 {
			t.Errorf("%d ends of a script in the page; want 2", got)
		}
		if err := WriteCSV(&other, first); err != nil {
			t.Error(err)
		}
		if err := WriteJUnit(&other, first); err != nil {
			t.Error(err)
		}
	})
}
