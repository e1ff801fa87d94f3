package prom

import (
	"time"

	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/prometheus/client_golang/prometheus"
)

// Fallbacks are the metrics of all fallbacks of a process.
type Fallbacks struct {
	answers *prometheus.CounterVec
	age     *prometheus.HistogramVec
	watched *pictures
}

// The metrics that are read from a snapshot, as indices.
const (
	fallbackEntries = iota
	fallbackBytes
	fallbackEvicted
)

// ageBuckets are upper bounds in seconds for how old an answer may be.
var ageBuckets = []float64{.1, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}

// NewFallbacks declares the metrics of kit/fallback, once in a registry.
func NewFallbacks(r *Registry) *Fallbacks {
	name := []string{"fallback"}
	return &Fallbacks{
		answers: r.CounterVec(Opts{Name: "dougong_fallback_answers_total", Help: "Calls by where their answer came from: primary, cached, default, or none.", Labels: []string{"fallback", "source"}}),
		age:     r.HistogramVec(Opts{Name: "dougong_fallback_age_seconds", Unit: "seconds", Help: "Age of the cached answers that were served.", Labels: name, Buckets: ageBuckets}),
		watched: r.pictures(
			picture{"gauge", Opts{Name: "dougong_fallback_entries", Help: "Last good results that are kept.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_fallback_kept_bytes", Unit: "bytes", Help: "Their size, where it is known.", Labels: name}},
			picture{"counter", Opts{Name: "dougong_fallback_evicted_total", Help: "Results that made room for others.", Labels: name}},
		),
	}
}

// Observer returns the observer of the fallback of that name.
func (m *Fallbacks) Observer(name string) fallback.Observer {
	o := &fallbackObserver{age: m.age.WithLabelValues(name), answers: make(map[fallback.Source]prometheus.Counter)}
	for _, source := range []fallback.Source{fallback.Primary, fallback.Cached, fallback.Default, fallback.None} {
		o.answers[source] = m.answers.WithLabelValues(name, string(source))
	}
	return o
}

type fallbackObserver struct {
	age     prometheus.Observer
	answers map[fallback.Source]prometheus.Counter // read only
}

func (o *fallbackObserver) Done(source fallback.Source, age time.Duration, _ error) {
	o.answers[source].Inc()
	if source == fallback.Cached {
		o.age.Observe(age.Seconds())
	}
}

// Watch reports what the fallback of that name keeps, once for each name; snapshot is the Snapshot of a
// fallback.Fallback, or of one in httpmw or grpcmw.
func (m *Fallbacks) Watch(name string, snapshot func() fallback.Snapshot) {
	m.watched.set(name, func(report emit) {
		s := snapshot()
		report(fallbackEntries, float64(s.Entries), name)
		report(fallbackBytes, float64(s.Bytes), name)
		report(fallbackEvicted, float64(s.Evicted), name)
	})
}
