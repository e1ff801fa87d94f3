package fault

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/config"
	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/prove/load"
)

func goodPlan() Plan {
	p := DefaultPlan()
	p.Services = []Service{
		{Name: "front", Admin: "http://127.0.0.1:9090"},
		{Name: "own", Admin: "http://LocalHost:9091", Command: []string{"true"}},
	}
	p.Load.Target = "http://127.0.0.1:8080/x"
	p.Faults = []Fault{
		{Name: "slow", Rule: delay(time.Millisecond)},
		{Name: "killed", Service: "own", Kill: true},
	}
	return p
}

func TestValidateReportsEveryFaultAtOnce(t *testing.T) {
	good := goodPlan()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Plan)
		want   []string
	}{
		{func(p *Plan) { *p = Plan{} }, []string{"services: there is none", "warmup: ", "window: ", "recover: ", "pairs: 0 is not", "load.target: is missing", "load.rate: 0", "load.timeout: ", "load.connections: ", "faults: there is none"}},
		{func(p *Plan) { p.Services[0].Admin = "http://example.org" }, []string{"services[0].admin: example.org is not this machine; name it in allow_remote"}},
		{func(p *Plan) { p.Load.Target = "http://example.org" }, []string{"load.target: example.org is not this machine"}},
		{func(p *Plan) { p.Services[0].Admin = "http://me:pw@127.0.0.1:1" }, []string{"services[0].admin: holds a password; use token_file"}},
		{func(p *Plan) {
			p.AllowRemote, p.Services[0].Admin, p.Services[0].TokenFile = "example.org", "http://example.org:9090", "token"
		}, []string{"services[0].admin: the token would go to example.org over http"}},
		{func(p *Plan) { p.Load.Scenarios = []load.Scenario{{}} }, []string{"load.scenarios[0]: it has 0 steps"}},
		{func(p *Plan) { p.Load.Streams = 4 }, []string{"load.streams: http1 carries one request at a time"}},
		{func(p *Plan) { p.Load.Protocol = "smtp" }, []string{"load.target: protocol \"smtp\" is none of"}},
		{func(p *Plan) { p.Services[1].Name = "front" }, []string{`services[1].name: "front" is taken`, `faults[1].service: "own" is none of the services`}},
		{func(p *Plan) { p.Services[1].Environment = map[string]string{"A=B": ""} }, []string{`services[1].environment: "A=B" cannot be set`}},
		{func(p *Plan) { p.Faults[1].Service = "front" }, []string{"faults[1].service: the plan does not start front, so it cannot be hurt by kill"}},
		{func(p *Plan) { p.Faults[1].Service = "" }, []string{"faults[1]: the plan does not start front"}},
		{func(p *Plan) { p.Faults[1].Stop = true }, []string{"faults[1]: does 2 things"}},
		{func(p *Plan) { p.Faults[1].Kill = false }, []string{"faults[1]: does nothing"}},
		{func(p *Plan) { p.Faults[1].Name = "slow" }, []string{`faults[1].name: "slow" is taken`}},
		{func(p *Plan) { p.Faults[0].Name = controlName }, []string{"faults[0].name: "}},
		{func(p *Plan) { p.Faults[0].Rule.ID = "mine" }, []string{"faults[0].rule: leave out id, expires and for"}},
		{func(p *Plan) { p.Faults[0].Rule = &Rule{Every: -1} }, []string{"faults[0].rule.point: ", "faults[0].rule.every: ", "faults[0].rule.effect: "}},
		{func(p *Plan) { p.Faults[1] = Fault{Name: "x", Service: "own", CPU: 0.001} }, []string{"faults[1].cpu: 0.001"}},
		{func(p *Plan) { p.Faults[1] = Fault{Name: "x", Service: "own", Memory: 7} }, []string{"faults[1].memory: 7 bytes"}},
		{func(p *Plan) { p.Load.Degraded = []string{"colour == blue"} }, []string{"load.degraded[0]: "}},
		{func(p *Plan) { p.Load.Rows.Order = "once" }, []string{"load.rows: order: "}},
		{func(p *Plan) { p.Window, p.Pairs = Duration(time.Hour), 1000 }, []string{"pairs: the run could take "}},
	} {
		p := goodPlan()
		c.change(&p)
		err := p.Validate()
		if err == nil {
			t.Errorf("no fault is found; want %q", c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains("\n"+err.Error(), "\n"+want) {
				t.Errorf("%q is not reported in:\n%v", want, err)
			}
		}
		if _, err := Run(t.Context(), p, Options{Journal: t.TempDir()}); !errors.Is(err, ErrPlan) {
			t.Errorf("Run: %v, want ErrPlan", err)
		}
	}
}

// A token may go where nobody listens on the way, or where the plan says that it may.
func TestTokensStayOffTheOpenNetwork(t *testing.T) {
	for _, c := range []struct {
		admin string
		plain bool
	}{{"http://127.0.0.1:9090", false}, {"http://[::1]:{port:admin}", false}, {"https://example.org:9090", false}, {"http://example.org:9090", true}} {
		p := goodPlan()
		p.AllowRemote, p.Services[0].TokenFile = "example.org", "token"
		p.Services[0].Admin, p.Services[0].PlainToken = c.admin, c.plain
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPlansSurviveJSON(t *testing.T) {
	p := goodPlan()
	p.Faults = append(p.Faults, Fault{Name: "failing", Rule: &Rule{Point: "a.b", Where: map[string]string{"tenant": "x"}, Every: 3, Error: &inject.Failure{HTTPStatus: 503, RetryAfter: time.Second}}})
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var read Plan
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, read) {
		t.Errorf("%s\nwas read as %+v", text, read)
	}
	if got, want := p.Faults[2].Rule.inWords(), "error http_status 503, retry_after 1s at a.b, every 3, where tenant x"; got != want {
		t.Errorf("in words: %q, want %q", got, want)
	}
}

func TestPlansAreWrittenInYAML(t *testing.T) {
	files, err := filepath.Glob("../../examples/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := DefaultPlan()
		if err := config.Decode(file, text, &p); err != nil {
			t.Error(err)
		}
		if p.Length() > 4*time.Minute {
			t.Errorf("%s takes %s, if everything recovers at once", file, p.Length())
		}
	}
}

func TestPortsAndThisProgramAreFilledIn(t *testing.T) {
	p := ownProcess()
	p.Faults = []Fault{{Name: "killed", Kill: true}}
	full, err := complete(p)
	if err != nil {
		t.Fatal(err)
	}
	s := full.Services[0]
	self, _ := os.Executable()
	if s.Command[0] != self || strings.Contains(full.Load.Target+s.Admin, "{") || full.Seed == 0 || full.Faults[0].Service != "target" {
		t.Errorf("%+v, target %s, seed %d", s, full.Load.Target, full.Seed)
	}
	if "http://"+s.Environment["FAULT_TEST_ADMIN"] != s.Admin || "http://"+s.Environment["FAULT_TEST_PUBLIC"] != full.Load.Target || s.Admin == full.Load.Target {
		t.Errorf("ports differ: %+v and %s", s, full.Load.Target)
	}
	if p.Services[0].Command[0] != "{self}" {
		t.Error("the caller's plan was changed")
	}
}

func TestResultsHoldNoSecrets(t *testing.T) {
	p := goodPlan()
	p.Services[1].Environment = map[string]string{"DB_PASSWORD": "hunter2", "DATABASE_URL": "postgres://u:hunter2@db/x", "DRAIN": "5s", "LISTEN": "127.0.0.1:8080"}
	p.Services[1].Command = []string{"true", "--token=hunter2", "--db", "amqp://u:hunter2@q/", "--password", "hunter2", "--rows", "4"}
	p.Load.Scenarios = []load.Scenario{{Steps: []load.Step{{Headers: map[string]string{"Authorization": "Bearer hunter2"}}}}}
	asLoaded := &load.Plan{Scenarios: []load.Scenario{{}}} // without headers, as prove/load leaves them
	text, err := json.Marshal(p.redacted(asLoaded))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), `"DRAIN":"5s"`) || !strings.Contains(string(text), "127.0.0.1:8080") || !strings.Contains(string(text), `"--rows","4"`) {
		t.Errorf("%s", text)
	}
	if p.Services[1].Environment["DB_PASSWORD"] != "hunter2" {
		t.Error("the plan itself was changed")
	}
}
