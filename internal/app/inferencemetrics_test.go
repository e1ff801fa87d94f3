package app

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/services/inference"
)

func TestInferenceMetrics(t *testing.T) {
	registry := prom.New()
	m := newInferenceMetrics(registry)
	nobody := m.Version("", "")
	loan := m.Version("loan", "1")
	odd := m.Version("unknown", "1") // a name like any other
	if m.Version("loan", "1") != loan {
		t.Error("a version that is loaded again starts from 0")
	}
	nobody.Predicted(inference.Rejected, 0, time.Millisecond)
	nobody.Predicted(inference.Invalid, 0, time.Millisecond)
	loan.Begin()
	loan.Predicted(inference.OK, 128, 3*time.Millisecond)
	loan.Begin()
	loan.Predicted(inference.Expired, 0, time.Second)
	loan.Begin()
	loan.Predicted(inference.Rejected, 0, time.Millisecond) // its answer found no room
	loan.Begin()                                            // is not answered yet
	odd.Begin()
	odd.Predicted(inference.OK, 1, time.Millisecond)

	w := httptest.NewRecorder()
	registry.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`ai_inference_result{model="-",result="rejected",version="-"} 1`,
		`ai_inference_result{model="-",result="invalid",version="-"} 1`,
		`ai_inference_result{model="loan",result="ok",version="1"} 1`,
		`ai_inference_result{model="loan",result="expired",version="1"} 1`,
		`ai_inference_result{model="loan",result="failed",version="1"} 0`,
		`ai_inference_result{model="loan",result="rejected",version="1"} 1`,
		`ai_inference_result{model="unknown",result="ok",version="1"} 1`,
		`dougong_inference_rows_total{model="loan",version="1"} 128`,
		`dougong_inference_inflight_requests{model="loan",version="1"} 1`,
		`dougong_inference_inflight_requests{model="unknown",version="1"} 0`,
		`dougong_inference_duration_seconds_count{model="loan",version="1"} 1`,
		`dougong_inference_duration_seconds_bucket{model="loan",version="1",le="0.005"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
	// A series that can never move would mislead.
	if strings.Contains(w.Body.String(), `model="-",result="ok"`) {
		t.Error("a dead series is exposed")
	}
}
