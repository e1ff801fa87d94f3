package strictjson_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/strictjson"
)

type level string

type colour int

func (c colour) MarshalText() ([]byte, error) { return []byte([]string{"red", "green"}[c]), nil }

func (c *colour) UnmarshalText(text []byte) error {
	switch string(text) {
	case "red":
		*c = 0
	case "green":
		*c = 1
	default:
		return fmt.Errorf("%q is no colour", text)
	}
	return nil
}

type condition struct {
	Above  float64       `json:"above"`
	Window time.Duration `json:"window"`
}

type sample struct {
	Name       string               `json:"name"`
	Level      level                `json:"level,omitempty"`
	On         bool                 `json:"on"`
	Count      int                  `json:"count"`
	Small      int8                 `json:"small"`
	Size       uint16               `json:"size"`
	Ratio      float32              `json:"ratio"`
	Open       time.Duration        `json:"open"`
	Colour     colour               `json:"colour"`
	Main       condition            `json:"main"`
	Conditions []condition          `json:"conditions"`
	Maybe      *condition           `json:"maybe"`
	Wait       *time.Duration       `json:"wait"`
	Labels     map[string]string    `json:"labels"`
	Tenants    map[level]*condition `json:"tenants"`
	Children   []sample             `json:"children,omitempty"`
	Skipped    func()               `json:"-"`
	hidden     int
}

func defaults() sample {
	return sample{hidden: 7, Name: "n", Count: 3, Open: 30 * time.Second, Main: condition{Above: 0.3, Window: time.Minute}, Conditions: []condition{{Above: 0.1}, {Above: 0.2}}}
}

func TestReadsOverTheDefaults(t *testing.T) {
	got := defaults()
	err := strictjson.Decode([]byte(`{
		"level": "high", "on": true, "count": -7, "size": 65535, "ratio": 0.5, "open": "1m30s", "colour": "green",
		"main": {"window": "10s"}, "conditions": [{"above": 1e-3}], "maybe": {"above": 2}, "wait": "5ms",
		"labels": {"a b": "c"}, "tenants": {"x": null, "y": {"above": 1}}
	}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	wait := 5 * time.Millisecond
	want := defaults()
	want.Level, want.On, want.Count, want.Size, want.Ratio, want.Open, want.Colour = "high", true, -7, 65535, 0.5, 90*time.Second, 1
	want.Main.Window = 10 * time.Second // and above keeps its default
	want.Conditions = []condition{{Above: 0.001}}
	want.Maybe, want.Wait = &condition{Above: 2}, &wait
	want.Labels = map[string]string{"a b": "c"}
	want.Tenants = map[level]*condition{"x": nil, "y": {Above: 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaultBehindAPointerIsNotTouched(t *testing.T) {
	shared := &condition{Above: 1, Window: time.Second}
	got := sample{Maybe: shared}
	if err := strictjson.Decode([]byte(`{"maybe": {"above": 2}}`), &got); err != nil {
		t.Fatal(err)
	}
	if shared.Above != 1 || got.Maybe.Above != 2 || got.Maybe.Window != time.Second {
		t.Errorf("shared %+v, got %+v", shared, got.Maybe)
	}
}

func TestFaultsNameTheirPath(t *testing.T) {
	for text, want := range map[string]string{
		`{"conditions": [{}, {"above": "much"}]}`: `conditions[1].above: want a number, have "much"`,
		`{"open": 30}`:                       `open: want a duration in quotes with its unit, such as "30s", have 30`,
		`{"open": "30"}`:                     `open: want a duration in quotes with its unit, such as "30s", have "30"`,
		`{"main": {"windw": "1s"}}`:          `main.windw: unknown key; known are above, window`,
		`{"Name": "x"}`:                      `Name: unknown key; known are name,`,
		`{"hidden": 1}`:                      `hidden: unknown key`,
		`{"Skipped": 1}`:                     `Skipped: unknown key`,
		`{"on": true, "on": true}`:           `on: key is here twice`,
		`{"labels": {"a.b": "", "a.b": ""}}`: `labels["a.b"]: key is here twice`,
		`{"tenants": {"x": {"above": []}}}`:  `tenants.x.above: want a number, have a list`,
		`{"name": null}`:                     `name: want text in quotes, have null`,
		`{"main": null}`:                     `main: want an object, have null`,
		`{"on": 1}`:                          `on: want true or false, have 1`,
		`{"count": 1.0}`:                     `count: want a whole number, have 1.0`,
		`{"count": 1e3}`:                     `count: want a whole number, have 1e3`,
		`{"small": 128}`:                     `small: 128 is out of range`,
		`{"size": -1}`:                       `size: want a whole number that is not negative, have -1`,
		`{"size": 65536}`:                    `size: 65536 is out of range`,
		`{"ratio": 1e39}`:                    `ratio: 1e39 is out of range`,
		`{"colour": "blue"}`:                 `colour: "blue" is no colour`,
		`{"colour": {"a": [1]}, "on": 2}`:    `colour: want text in quotes, have an object`,
		`{"conditions": {}}`:                 `conditions: want a list, have an object`,
		`{"labels": []}`:                     `labels: want an object, have a list`,
		`[]`:                                 `want an object, have a list`,
		`null`:                               `want an object, have null`,
		`{} {}`:                              `line 1, column 4: document is not JSON`,
		``:                                   `document is not JSON`,
		"{\n  \"on\": tru\n}":                `line 2, column 12: document is not JSON`,
		`{"on": true,}`:                      `document is not JSON`,
		"{\"name\": \"\xff\"}":               `document is not UTF-8`,
		strings.Repeat(`{"children": [`, 40): `document is not JSON`,
		`{"name": "` + strings.Repeat("x", strictjson.MaxBytes) + `"}`:            `at most 1048576 are read`,
		strings.Repeat(`{"children": [`, 40) + strings.Repeat(`]}`, 40):           `nested deeper than 32`,
		`{"name": ` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`: `name: want text in quotes, have a list`,
	} {
		got := defaults()
		err := strictjson.Decode([]byte(text), &got)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	got := defaults()
	err := strictjson.Decode([]byte(`{"on": {"x": [1, {}]}, "x": [[1]], "count": "1", "main": {"above": null}, "name": "ok"}`), &got)
	if err == nil || len(strings.Split(err.Error(), "\n")) != 4 {
		t.Errorf("want 4 faults, got\n%v", err)
	}
	if got.Name != "ok" {
		t.Error("what comes after a fault was not read")
	}
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `,"k%d": 1`, i)
	}
	err = strictjson.Decode([]byte("{"+many.String()[1:]+"}"), &got)
	if n := len(strings.Split(err.Error(), "\n")); n != 101 {
		t.Errorf("%d lines", n)
	}
}

func TestMistakesInTheStructAreErrors(t *testing.T) {
	for want, into := range map[string]any{
		"want a pointer":   sample{},
		"have *strictjson": (*sample)(nil),
		"no json tag":      &struct{ A int }{},
		"embeds":           &struct{ condition }{},
		"are not supported": &struct {
			A any `json:"a"`
		}{},
		"keys of type int is": &struct {
			A map[int]int `json:"a"`
		}{},
	} {
		if err := strictjson.Decode([]byte(`{"a": 1}`), into); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: got %v, want %q", into, err, want)
		}
	}
}

func TestWritesWhatItReads(t *testing.T) {
	wait := time.Duration(math.MinInt64)
	in := defaults()
	in.hidden = 0 // is not written
	in.Wait, in.Colour, in.Maybe = &wait, 1, &condition{Above: 1e-7, Window: time.Hour}
	in.Labels = map[string]string{"<b>&": "\u2028\x00\"", "a": ""}
	in.Children = []sample{{Small: -128, Size: 1}}
	out, err := strictjson.Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	var got sample
	if err := strictjson.Decode(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !reflect.DeepEqual(got, in) {
		t.Errorf("got  %+v\nwant %+v\n%s", got, in, out)
	}
}

func TestWritesForPeople(t *testing.T) {
	type config struct {
		Open    time.Duration `json:"open"`
		Day     time.Duration `json:"day"`
		None    []int         `json:"none"`
		Left    []int         `json:"left,omitempty"`
		Maybe   *int          `json:"maybe"`
		Numbers []int         `json:"numbers"`
	}
	out, err := strictjson.Encode(&config{Open: 90 * time.Second, Day: 24 * time.Hour, Numbers: []int{1, 2}})
	want := `{
  "open": "1m30s",
  "day": "24h",
  "none": [],
  "maybe": null,
  "numbers": [
    1,
    2
  ]
}
`
	if err != nil || string(out) != want {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestWhatCannotBeReadIsNotWritten(t *testing.T) {
	type loop struct {
		Next *loop `json:"next"`
	}
	endless := &loop{}
	endless.Next = endless
	for want, v := range map[string]any{
		"main.above: ":          sample{Main: condition{Above: math.NaN()}},
		"conditions[0].above: ": sample{Conditions: []condition{{Above: math.Inf(1)}}},
		"name: text is not":     sample{Name: "\xff"},
		"nested deeper":         endless,
		"nil cannot":            nil,
	} {
		if out, err := strictjson.Encode(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v %s", want, err, out)
		}
	}
}

// FuzzDecode holds that nothing panics, and that what was read is written so that it reads the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name": "x", "count": 1}`, `{"conditions": [{"above": 0.1, "window": "1s"}], "maybe": null}`,
		`{"tenants": {"a": {"above": 1}, "b": null}, "labels": {"": "\u2028"}}`, `{"children": [{"children": [{}]}]}`,
		`{"ratio": 1e-300, "wait": "-2562047h47m16.854775808s"}`, `{"on": true, "on": 1}`, `[[[{"a": `, `{"colour": "green"} `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second sample
		if strictjson.Decode(data, &first) != nil {
			return
		}
		out, err := strictjson.Encode(first)
		if err != nil {
			t.Fatalf("read %q, cannot write it: %v", data, err)
		}
		if err := strictjson.Decode(out, &second); err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, out)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v\nbecame %+v\nthrough %s", first, second, out)
		}
	})
}
