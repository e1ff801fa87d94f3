package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// workerMetrics tells of the workers of models.
type workerMetrics struct {
	starts, retries, quarantined, refused *prometheus.CounterVec
	ends                                  *prometheus.CounterVec
	ready                                 *prometheus.GaugeVec
	memory                                *prometheus.GaugeVec
	starting, took                        *prometheus.HistogramVec
	calls, rows                           *prometheus.HistogramVec
}

func newWorkerMetrics(r *prom.Registry) *workerMetrics {
	by := []string{"model", "version"}
	return &workerMetrics{
		starts: r.CounterVec(prom.Opts{Name: "dougong_inference_worker_starts_total", Labels: by, Help: "Workers that began to serve."}),
		ends: r.CounterVec(prom.Opts{Name: "dougong_inference_worker_ends_total", Labels: append(by[:2:2], "cause"),
			Help: "Workers that ended: stopped, recycled (too large or too old), exited, killed (by a signal), silent, hung, breach (of the protocol) or failed (to start)."}),
		ready: r.GaugeVec(prom.Opts{Name: "dougong_inference_ready_workers", Unit: "workers", Labels: by, Help: "Workers that serve."}),
		memory: r.GaugeVec(prom.Opts{Name: "dougong_inference_worker_memory_bytes", Unit: "bytes", Labels: append(by[:2:2], "worker", "kind"),
			Help: "Memory of each worker as it told last: resident, of which native is what its engine says that it holds, and device, of an accelerator."}),
		starting:    r.HistogramVec(prom.Opts{Name: "dougong_inference_worker_start_seconds", Unit: "seconds", Labels: by, Help: "Time from a worker's start until it served."}),
		took:        r.HistogramVec(prom.Opts{Name: "dougong_inference_batch_seconds", Unit: "seconds", Labels: by, Help: "Time that batches were with a worker."}),
		calls:       r.HistogramVec(prom.Opts{Name: "dougong_inference_batch_calls", Unit: "calls", Labels: by, Buckets: sizes, Help: "Calls that went to a worker together."}),
		rows:        r.HistogramVec(prom.Opts{Name: "dougong_inference_batch_rows", Unit: "rows", Labels: by, Buckets: sizes, Help: "Rows that went to a worker together."}),
		retries:     r.CounterVec(prom.Opts{Name: "dougong_inference_worker_retries_total", Labels: by, Help: "Calls that were sent to another worker because theirs had died."}),
		quarantined: r.CounterVec(prom.Opts{Name: "dougong_inference_quarantined_total", Labels: by, Help: "Inputs that killed two workers and were taken into quarantine."}),
		refused:     r.CounterVec(prom.Opts{Name: "dougong_inference_quarantine_refused_total", Labels: by, Help: "Calls that were refused because their input is in quarantine."}),
	}
}

// sizes are those of batches.
var sizes = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

// Observer resolves the labels of a version, so that a call costs a few atomic operations.
func (m *workerMetrics) Observer(model, version string) supervisor.Observer {
	o := &workerObserver{
		starts: m.starts.WithLabelValues(model, version), retries: m.retries.WithLabelValues(model, version),
		quarantined: m.quarantined.WithLabelValues(model, version), refused: m.refused.WithLabelValues(model, version),
		ready: m.ready.WithLabelValues(model, version), starting: m.starting.WithLabelValues(model, version),
		took: m.took.WithLabelValues(model, version), calls: m.calls.WithLabelValues(model, version), rows: m.rows.WithLabelValues(model, version),
		memory: m.memory.MustCurryWith(prometheus.Labels{"model": model, "version": version}),
	}
	for end := range supervisor.Ends {
		o.ends[end] = m.ends.WithLabelValues(model, version, end.String())
	}
	return o
}

type workerObserver struct {
	starts, retries, quarantined, refused prometheus.Counter
	ends                                  [supervisor.Ends]prometheus.Counter
	ready                                 prometheus.Gauge
	memory                                *prometheus.GaugeVec
	starting, took, calls, rows           prometheus.Observer
}

func (o *workerObserver) Started(seconds float64) {
	o.starts.Inc()
	o.starting.Observe(seconds)
}

func (o *workerObserver) Ended(end supervisor.End) { o.ends[end].Inc() }
func (o *workerObserver) Ready(workers int)        { o.ready.Set(float64(workers)) }

func (o *workerObserver) Memory(worker int, resident, native, device int64) {
	slot := strconv.Itoa(worker)
	o.memory.WithLabelValues(slot, "resident").Set(float64(resident))
	o.memory.WithLabelValues(slot, "native").Set(float64(native))
	o.memory.WithLabelValues(slot, "device").Set(float64(device))
}

func (o *workerObserver) Sent(calls, rows int, seconds float64) {
	o.calls.Observe(float64(calls))
	o.rows.Observe(float64(rows))
	o.took.Observe(seconds)
}

func (o *workerObserver) Retried()     { o.retries.Inc() }
func (o *workerObserver) Quarantined() { o.quarantined.Inc() }
func (o *workerObserver) Refused()     { o.refused.Inc() }
