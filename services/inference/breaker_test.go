package inference

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/kit/breaker"
)

// explosive is loan-mini as a regression whose answer is infinite where int_rate is 0.9, which no answer can hold:
// a model that fails on some rows only.
func explosive(t *testing.T) fs.FS {
	t.Helper()
	data, err := fs.ReadFile(models.Repository, "loan-mini/1/model.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	at := func(v any, path ...string) any {
		for _, name := range path {
			v = v.(map[string]any)[name]
		}
		return v
	}
	at(doc, "learner", "objective").(map[string]any)["name"] = "reg:squarederror"
	trees := at(doc, "learner", "gradient_booster", "model", "trees").([]any)
	for _, tree := range trees[:2] {
		number := func(field string, node int) float64 { return at(tree, field).([]any)[node].(float64) }
		node := 0
		for number("left_children", node) >= 0 {
			side := "right_children"
			if number("split_indices", node) == 1 { // revol_util: the small ones go left
				side = "left_children"
			}
			node = int(number(side, node))
		}
		at(tree, "split_conditions").([]any)[node] = 3e38
	}
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	const known = 0.03645607829093933 // of [0.1, 0.9], as the classifier says it
	margin := math.Log(known/(1-known)) + 0.5
	manifest := fmt.Sprintf("file: model.json\nsha256: %s\nobjective: reg:squarederror\ninputs: [int_rate, revol_util]\ngolden:\n  tolerance: 1e-4\n  rows:\n    - input: [0.1, 0.9]\n      output: [%v]\n", hex.EncodeToString(sum[:]), margin)
	return fstest.MapFS{
		"mini/policy.yaml":  {Data: []byte(`serve: "1"`)},
		"mini/1/model.json": {Data: data},
		"mini/1/model.yaml": {Data: []byte(manifest)},
	}
}

func TestVersionThatFailsIsNotCalledUntilItIsTriedAgain(t *testing.T) {
	repo := explosive(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Repository, cfg.DefaultModel = "test", "mini"
		s, h, seen := serve(t, cfg, repo)
		const good, bad, unknown = `{"input":[0.1,0.9]}`, `{"input":[0.9,0]}`, `{"input":[0.1]}`
		if w := post(h, good); w.Code != 200 {
			t.Fatal(w.Body)
		}
		for range 200 { // the caller's faults are none of the version's
			if w := post(h, unknown); w.Code != 400 {
				t.Fatal(w.Body)
			}
		}
		failed := 0
		for ; s.Breaker().Circuits[0].State == breaker.Closed && failed < 1000; failed++ {
			if w := post(h, bad); w.Code != 500 {
				t.Fatal(w.Code, w.Body)
			}
		}
		if failed > 50 {
			t.Errorf("%d failures until it opened", failed)
		}
		w := post(h, good)
		if w.Code != 503 || !strings.Contains(w.Body.String(), `"code":"model_failing"`) || w.Header().Get("Retry-After") == "" {
			t.Fatal(w.Code, w.Header(), w.Body)
		}
		if n := seen.of("mini/1 rejected"); n != 1 {
			t.Errorf("%d rejections counted for the version", n)
		}
		ready := func(code int, reason string) {
			t.Helper()
			if w := v2Request(h, "GET", "/v2/models/mini/ready", nil); w.Code != code || !strings.Contains(w.Body.String(), reason) {
				t.Errorf("ready: %d %s", w.Code, w.Body)
			}
		}
		ready(503, "too many predictions")
		line := s.Status().Models[0].Versions[0]
		if line.Breaker != breaker.Open || line.RetryIn == "" || line.Share != 0 || line.Cause == "" {
			t.Errorf("%+v", line)
		}

		// Once its time is over a call that is marked as a test goes first.
		time.Sleep(s.Breaker().Circuits[0].RetryIn)
		if w := post(h, good); w.Code != 503 {
			t.Errorf("an ordinary call was the first probe: %d", w.Code)
		}
		ready(200, "a few calls find out")
		for range cfg.Breaker.Successes {
			r := httptest.NewRequest("POST", "/v1/predict", strings.NewReader(good))
			r.Header.Set("x-ai-test", "true")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 {
				t.Fatal(w.Code, w.Body)
			}
		}
		ready(200, "5 % of the calls")
		for {
			w := post(h, good)
			if w.Code == 200 {
				continue
			}
			if w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "coming back") {
				t.Errorf("who has no id draws anew with each try: Retry-After %s, %s", w.Header().Get("Retry-After"), w.Body)
			}
			break
		}
		// For a minute one in twenty passes, the same ones each time.
		passes := func(id string) bool {
			r := httptest.NewRequest("POST", "/v1/predict", strings.NewReader(good))
			r.Header.Set("X-Request-Id", id)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code == 200
		}
		passed := 0
		for i := range 2000 {
			id := fmt.Sprint("request-", i)
			if first := passes(id); first != passes(id) {
				t.Fatal("one request passes now, and not then")
			} else if first {
				passed++
			}
		}
		if passed < 60 || passed > 140 {
			t.Errorf("%d of 2,000 passed at 5 %%", passed)
		}
		time.Sleep(6 * time.Minute)
		for range 100 {
			if w := post(h, good); w.Code != 200 {
				t.Fatal(w.Code, w.Body)
			}
		}
		if state := s.Breaker().Circuits[0].State; state != breaker.Closed {
			t.Error(state)
		}
	})
}

func TestBreakerPolicyChangesWhileRequestsRun(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Repository, cfg.DefaultModel = "test", "mini"
	s, h, _ := serve(t, cfg, explosive(t))
	never, _ := breaker.Preset(breaker.PresetDefault)
	never.Conditions = nil
	if err := s.SetBreakerPolicy(never); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if w := post(h, `{"input":[0.9,0]}`); w.Code != 500 {
			t.Fatal(w.Code)
		}
	}
	if err := s.SetBreakerPolicy(cfg.Breaker); err != nil {
		t.Fatal(err)
	}
	post(h, `{"input":[0.9,0]}`) // decides: what was counted meanwhile counts
	if state := s.Breaker().Circuits[0].State; state != breaker.Open {
		t.Error(state)
	}
	if err := s.SetBreakerPolicy(breaker.Policy{}); err == nil {
		t.Error("a policy without probes is in force")
	}
}
