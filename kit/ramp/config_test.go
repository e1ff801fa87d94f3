package ramp

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/strictjson"
)

func TestPresetsAreValidAndDoWhatTheirNamesSay(t *testing.T) {
	for _, name := range Presets() {
		c, ok := Preset(name)
		if !ok || c.Validate() != nil {
			t.Errorf("%s: %v %v", name, ok, c.Validate())
		}
	}
	if _, ok := Preset("none"); ok {
		t.Error("found what is not there")
	}
	c, _ := Preset("first-minute-5-percent")
	for since, want := range map[time.Duration]float64{0: 0.05, time.Minute - 1: 0.05, time.Minute: 0.1, time.Hour: 1} {
		if share, _ := c.Schedule.Share(since); share != want {
			t.Errorf("first-minute-5-percent after %v: %v", since, share)
		}
	}
	c, _ = Preset("doubling-within-10s")
	if share, done := c.Schedule.Share(10 * time.Second); share != 1 || !done {
		t.Errorf("doubling-within-10s after 10s: %v %v", share, done)
	}
	for i, step := range c.Schedule.Steps[1:] {
		if step.Share != 2*c.Schedule.Steps[i].Share {
			t.Errorf("step %d does not double", i+1)
		}
	}
}

func TestEveryFaultOfAConfigurationIsReported(t *testing.T) {
	c := Config{
		Backoff:  Backoff{First: 0, Factor: math.NaN(), Most: -1, Jitter: 2, Calm: -1},
		Probing:  Probing{Successes: -1, UnmarkedAfter: -1},
		Schedule: Schedule{Steps: []Step{{0.5, time.Second}, {0.25, 0}, {math.NaN(), 1}}},
		Relapse:  Relapse{Failures: -1, Of: -1},
	}
	err := c.Validate()
	for _, path := range []string{
		"backoff.first", "backoff.factor", "backoff.most", "backoff.jitter", "backoff.calm", "probing.successes", "probing.unmarked_after",
		"schedule.steps[1].share", "schedule.steps[1].for", "schedule.steps[2].share", "relapse.of", "relapse.failures",
	} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+path+": ") {
			t.Errorf("%s is missing in\n%v", path, err)
		}
	}
	c = DefaultConfig()
	c.Probing.AtOnce, c.Probing.Timeout = 0, 0
	c.Relapse = Relapse{Failures: 5, Of: 5}
	c.Schedule.Steps = make([]Step, maxSteps+1)
	err = c.Validate()
	for _, path := range []string{"probing.at_once", "probing.timeout", "relapse.failures", "schedule.steps"} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+path+": ") {
			t.Errorf("%s is missing in\n%v", path, err)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.HasPrefix(err.Error(), "ramp: backoff.first: ") {
		t.Errorf("New: %v", err)
	}
}

func TestParseConfig(t *testing.T) {
	got, err := ParseConfig([]byte(`{
		"backoff": {"first": "2s"},
		"probing": {"unmarked_after": "0s"},
		"schedule": {"steps": [{"share": 0.5, "for": "1m30s"}]}
	}`))
	want := DefaultConfig()
	want.Backoff.First, want.Probing.UnmarkedAfter = 2*time.Second, 0
	want.Schedule.Steps = []Step{{0.5, 90 * time.Second}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v", got, err)
	}
	got, err = ParseConfig([]byte(`"doubling-within-10s"`))
	if want, _ := Preset(DoublingWithin10s); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v", got, err)
	}
	for text, want := range map[string]string{
		`"doubling"`:                                `no preset is named "doubling"; there are ["first-minute-5-percent" "doubling-within-10s"]`,
		`{"schedule": {"steps": [{"shar": 1}]}}`:    `ramp: schedule.steps[0].shar: unknown key; known are share, for`,
		`{"schedule": {"steps": [{"share": 0.5}]}}`: `ramp: schedule.steps[0].for: must be above 0, is 0s`,
		`{"backoff": {"first": 5}}`:                 `ramp: backoff.first: want a duration`,
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// FuzzParseConfig holds that what is read is valid, and reads the same after it was written.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`"doubling-within-10s"`))
	f.Add([]byte(`{"backoff": {"first": "2s", "factor": 1.5, "jitter": 1}, "relapse": {"of": 0}}`))
	f.Add([]byte(`{"schedule": {"steps": [{"share": 1e-9, "for": "1ns"}]}, "probing": {"successes": 0, "at_once": 0}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%s was read: %v", data, err)
		}
		out, err := strictjson.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseConfig(out); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

func TestMark(t *testing.T) {
	for _, header := range []map[string][]string{{"X-Ai-Test": {"true"}}, {"x-ai-test": {"true"}}} {
		if !Marked(header) {
			t.Errorf("%v is not marked", header)
		}
	}
	for _, header := range []map[string][]string{nil, {"X-Ai-Test": {"false"}}, {"X-Ai-Test": {}}, {"X-Ai-Test": {"1"}}, {"X-Ai-Test": {"true", "false"}}} {
		if Marked(header) {
			t.Errorf("%v is marked", header)
		}
	}
}
