package faultadmin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

func server(t *testing.T) (*fault.Set, *http.ServeMux) {
	t.Helper()
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	mux := http.NewServeMux()
	for pattern, handler := range Routes(set, fault.Admin) {
		mux.Handle(pattern, handler)
	}
	return set, mux
}

func do(mux *http.ServeMux, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func TestRulesComeAndGo(t *testing.T) {
	set, mux := server(t)
	if set.Status().CompiledOut {
		t.Skip("this build has no faults")
	}
	p := set.Point(fault.Def{Name: "bank.charge", Effects: fault.Call})
	if !strings.Contains(do(mux, "GET", "/faults", "").Body.String(), `"doc"`) {
		t.Error("the status does not show the points")
	}
	if p.On() {
		t.Error("on")
	}
	w := do(mux, "PUT", "/faults/rules/slow", `{"point":"bank.*","for":"1m","error":{"cause":"timeout"}}`)
	var changed Changed
	if err := json.Unmarshal(w.Body.Bytes(), &changed); err != nil || w.Code != 200 || len(changed.Rules) != 1 {
		t.Fatal(w.Code, w.Body)
	}
	if r := changed.Rules[0]; r.ID != "slow" || r.State != fault.Active || r.Rule.Expires.IsZero() || r.Rule.For != 0 || len(r.Points) != 1 {
		t.Errorf("%+v", r)
	}
	if p.Hit(t.Context()) == nil {
		t.Error("no effect")
	}
	var status fault.Status
	if err := json.Unmarshal(do(mux, "GET", "/faults", "").Body.Bytes(), &status); err != nil || status.Rules[0].Hits != 1 || len(status.Recent) != 1 {
		t.Errorf("%v: %+v", err, status)
	}
	if w := do(mux, "PUT", "/faults/kill", ""); w.Code != 204 || p.On() {
		t.Error(w.Code, "not killed")
	}
	if w := do(mux, "DELETE", "/faults/kill", ""); w.Code != 204 || !p.On() {
		t.Error(w.Code, "not released")
	}
	if w := do(mux, "DELETE", "/faults/rules/slow", ""); w.Code != 204 || p.On() {
		t.Error(w.Code, "still there")
	}
	w = do(mux, "PUT", "/faults", `{"version":1,"rules":[{"id":"a","point":"bank.*","for":"1m","hang":{}},{"id":"b","point":"nowhere","for":"1m","hang":{}}]}`)
	if w.Code != 200 || strings.Count(w.Body.String(), `"state"`) != 2 || !strings.Contains(w.Body.String(), `"unmatched"`) {
		t.Error(w.Code, w.Body)
	}
	if w := do(mux, "DELETE", "/faults", ""); w.Code != 204 || p.On() {
		t.Error(w.Code, "still there")
	}
	_ = set.Put(fault.File, fault.Rule{ID: "f", Point: "bank.*", For: time.Minute, Error: &fault.Failure{}})
	do(mux, "PUT", "/faults/kill", "")
	do(mux, "DELETE", "/faults", "")
	if w := do(mux, "PUT", "/faults", `{"version":1,"rules":[]}`); p.On() || !strings.Contains(w.Body.String(), `"rules": []`) {
		t.Errorf("tidying up lets loose what the kill switch stopped, or %s", w.Body)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	set, mux := server(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"PUT", "/faults", `{"version":2}`, 400, "invalid_faults"},
		{"PUT", "/faults", `{"version":1,"rules":[{"id":"a"}]}`, 400, "invalid_faults"},
		{"PUT", "/faults/rules/a", `{"id":"b","point":"*","for":"1m","hang":{}}`, 400, "invalid_faults"},
		{"PUT", "/faults/rules/a", `{"point":"*","for":"1m","hnag":{}}`, 400, "invalid_faults"},
		{"PUT", "/faults/rules/a", `{"point":"*","hang":{}}`, 403, "beyond_ceiling"},
		{"PUT", "/faults/rules/a", `{"point":"*","for":"2h","hang":{}}`, 403, "beyond_ceiling"},
		{"DELETE", "/faults/rules/a", ``, 404, "no_such_rule"},
		{"PUT", "/faults", strings.Repeat(" ", maxBody+1), 413, "too_large"},
	} {
		w := do(mux, c.method, c.path, c.body)
		if w.Code == http.StatusNotImplemented {
			t.Skip("this build has no faults")
		}
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"code":"`+c.code+`"`) {
			t.Errorf("%s %s %.40s: %d %s", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
	set.Close()
	if w := do(mux, "PUT", "/faults/kill", ""); w.Code != 503 {
		t.Error(w.Code, w.Body)
	}
}
