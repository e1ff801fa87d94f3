package app

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/services/inference"
)

// inferenceMetrics implements inference.Observer.
type inferenceMetrics struct {
	results  *prom.FuncVec
	rows     *prometheus.CounterVec
	took     *prometheus.HistogramVec
	scoring  *prometheus.GaugeVec
	fellBack *prometheus.CounterVec

	mu       sync.Mutex
	versions map[[2]string]*versionMetrics
}

func newInferenceMetrics(r *prom.Registry) *inferenceMetrics {
	byVersion := []string{"model", "version"}
	return &inferenceMetrics{
		versions: make(map[[2]string]*versionMetrics),
		results: r.UntypedFuncVec(prom.Opts{Name: "ai_inference_result", Labels: []string{"model", "version", "result"},
			Help: "Count of prediction requests by how they ended: ok, invalid, rejected, expired or failed. Model and version are - for requests that ended before one was found, as those did that were rejected before their body was read."}),
		rows: r.CounterVec(prom.Opts{Name: "dougong_inference_rows_total", Labels: byVersion, Help: "Rows that were scored and answered."}),
		scoring: r.GaugeVec(prom.Opts{Name: "dougong_inference_inflight_requests", Unit: "requests", Labels: byVersion,
			Help: "Prediction requests of which the version is known and that are not answered yet."}),
		fellBack: r.CounterVec(prom.Opts{Name: "dougong_inference_fallback_total", Labels: []string{"model", "version", "served_by", "reason"},
			Help: "Prediction requests that a fallback answered, by why: " + strings.Join(inference.Reasons(), ", ") + ". They count as ok."}),
		took: r.HistogramVec(prom.Opts{Name: "dougong_inference_duration_seconds", Unit: "seconds", Labels: byVersion,
			Help: "Time from admission to answer of the prediction requests that were answered."}),
	}
}

// noVersion stands for the model and the version of requests that ended before one was found. No folder can
// have that name.
const noVersion = "-"

// Version resolves the labels, so that a request costs a few atomic operations.
func (m *inferenceMetrics) Version(model, version string) inference.VersionObserver {
	named := model != ""
	if !named {
		model, version = noVersion, noVersion
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{model, version}
	if v, ok := m.versions[key]; ok {
		return v
	}
	v := &versionMetrics{fellBack: m.fellBack.MustCurryWith(prometheus.Labels{"model": model, "version": version})}
	m.versions[key] = v
	for result := range inference.Results {
		if !named && result == inference.OK {
			continue // it could never move
		}
		count := &v.results[result]
		m.results.Add(func() float64 { return float64(count.Load()) }, model, version, result.String())
	}
	if named {
		v.rows, v.took = m.rows.WithLabelValues(model, version), m.took.WithLabelValues(model, version)
		v.scoring = m.scoring.WithLabelValues(model, version)
	}
	return v
}

type versionMetrics struct {
	results [inference.Results]atomic.Uint64
	rows    prometheus.Counter  // nil where no version is known, which answers nothing
	took    prometheus.Observer // likewise
	scoring prometheus.Gauge    // likewise

	fellBack *prometheus.CounterVec
}

func (v *versionMetrics) FellBack(by, reason string) { v.fellBack.WithLabelValues(by, reason).Inc() }

func (v *versionMetrics) Begin() { v.scoring.Inc() }

func (v *versionMetrics) Predicted(result inference.Result, rows int, took time.Duration) {
	v.results[result].Add(1)
	if v.scoring != nil {
		v.scoring.Dec()
	}
	if result == inference.OK {
		v.rows.Add(float64(rows))
		v.took.Observe(took.Seconds())
	}
}
