package breaker

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/ramp"
)

func TestPolicyReportsEveryFault(t *testing.T) {
	p := Policy{
		Conditions: []Condition{{Of: "x", Above: 1, Over: time.Millisecond, MinRequests: -1, Level: 0.4, WhileRPS: -1, Shed: &Shed{Full: 0.5, Most: 1}}},
		SlowAfter:  -1, MarkedFor: -1, Probes: 65, Sampling: Sampling{Least: 2},
	}
	p.Rise.Steps = []ramp.Step{{Share: 2}}
	err := p.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, field := range []string{"conditions[0].of", "conditions[0].above", "conditions[0].over", "conditions[0].min_requests", "conditions[0].level", "conditions[0].while_rps",
		"conditions[0].shed.full", "conditions[0].shed.most", "slow_after", "open.first", "open.factor", "probes", "successes", "probe_timeout", "marked_for", "rise.steps[0].share",
		"rise.steps[0].for", "sampling.least", "sampling.floor"} {
		if !strings.Contains("\n"+err.Error(), "\n"+field+": ") {
			t.Errorf("nothing about %s in:\n%v", field, err)
		}
	}
	if _, err := New[string](p); err == nil || !strings.HasPrefix(err.Error(), "breaker: policy: ") {
		t.Error(err)
	}
}

func TestPresetsAreWhatTheirNamesPromise(t *testing.T) {
	for _, name := range Presets() {
		p, ok := Preset(name)
		if !ok || p.Validate() != nil {
			t.Errorf("%s: %v %v", name, ok, p.Validate())
		}
		data, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParsePolicy(data); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%s: reads %+v from what it wrote, %v", name, again, err)
		}
	}
	if _, ok := Preset("none"); ok {
		t.Error("found a preset that is not there")
	}

	search, _ := Preset(PresetSearch)
	if c := search.Conditions[0]; c.Above != 0.3 || c.Over != time.Minute || c.MinRequests != 20 || search.Open.First != 30*time.Second || search.Sampling.Least != 0.05 {
		t.Errorf("search: %+v", search)
	}
	inference, _ := Preset(PresetInference)
	if c := inference.Conditions[0]; c.Above != 0.15 || c.WhileRPS != 5000 || inference.Rise.Steps[0].Share != 0.05 || inference.Rise.Steps[0].For != time.Minute || inference.MarkedFor == 0 {
		t.Errorf("inference: %+v", inference)
	}
	sale, _ := Preset(PresetFlashSale)
	if c := sale.Conditions[0]; c.Above != 0.05 || sale.Open.First != 10*time.Second || sale.Open.Most != 10*time.Second {
		t.Errorf("flash-sale: %+v", sale)
	}
	gateway, _ := Preset(PresetGateway)
	if c, shed := gateway.Conditions[0], gateway.Conditions[1]; c.Above != 0.65 || c.Over != 10*time.Second || gateway.Open.First != 30*time.Second || shed.WhileRPS != 15_000 || shed.Above != 0.12 || shed.Shed == nil {
		t.Errorf("gateway: %+v", gateway)
	}
	if m := ModelMemory(); m.Above != 0.9 || m.For != 30*time.Second || m.Validate() != nil {
		t.Errorf("model memory: %+v", m)
	}
}

func TestParsePolicyIsStrict(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"conditions": [{"above": 0.4, "over": "20s"}], "probes": 3}`))
	want := Condition{Of: Failures, Above: 0.4, Over: 20 * time.Second, MinRequests: 20, Level: DefaultLevel}
	if err != nil || p.Probes != 3 || p.Successes != DefaultPolicy().Successes || len(p.Conditions) != 1 || p.Conditions[0] != want {
		t.Fatalf("%+v, %v", p, err)
	}
	for doc, fault := range map[string]string{
		`{"probe": 3}`: "probe",
		`{"conditions": [{"abov": 0.4, "over": "20s"}]}`: "conditions[0].abov",
		`{"probe_timeout": 5}`:                           "probe_timeout",
		`{"probes": 0}`:                                  "probes: must be between 1 and 64, is 0",
		`{"probes": 1} {}`:                               "",
		`{"open": {"first": "-1s"}}`:                     "open.first",
		``:                                               "",
	} {
		if _, err := ParsePolicy([]byte(doc)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, name := range Presets() {
		p, _ := Preset(name)
		data, err := p.JSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"conditions": [{"above": 0.4, "over": "20s"}], "sampling": {"least": 1e-300, "floor": 1e300}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		if err != nil {
			return
		}
		g, err := New[int](p)
		if err != nil {
			t.Fatalf("parsed, and yet: %v", err)
		}
		for i := range 100 {
			if permit, err := g.Allow(0); err == nil {
				permit.Done(Outcome(i % 4))
			}
		}
		g.Snapshot()
		again, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParsePolicy(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v became %+v, %v", p, q, err)
		}
	})
}
