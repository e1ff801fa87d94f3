package prom

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Opts declare one metric.
type Opts struct {
	Name    string
	Help    string    // one sentence, with its full stop
	Unit    string    // seconds, bytes, …; the name then contains it. "" for plain counts
	Labels  []string  // of the Vec constructors; their values must be bounded
	Buckets []float64 // of histograms: upper bounds, ascending; nil: LatencyBuckets
}

// LatencyBuckets are upper bounds in seconds for requests between 100 µs and
// 30 s.
var LatencyBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// Description is what docs/metrics.md says about a metric.
type Description struct {
	Name, Type, Unit, Help string
	Labels                 []string
}

// Registry holds metrics and their descriptions. It is safe for concurrent
// use. Its constructors panic on a declaration that is wrong or there twice:
// that is a mistake in the program, seen at its first start.
type Registry struct {
	reg   *prometheus.Registry
	slots chan struct{} // gathers in progress

	mu           sync.Mutex
	descriptions map[string]Description
}

// New returns a registry that has the collectors of the Go runtime and of the
// process, whose metrics are not described: they are client_golang's.
func New() *Registry {
	r := &Registry{
		reg:          prometheus.NewRegistry(),
		slots:        make(chan struct{}, maxGathers),
		descriptions: make(map[string]Description),
	}
	r.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Descriptions returns what was declared, by name.
func (r *Registry) Descriptions() []Description {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Description, 0, len(r.descriptions))
	for _, name := range slices.Sorted(maps.Keys(r.descriptions)) {
		all = append(all, r.descriptions[name])
	}
	return all
}

// Counter declares a counter.
func (r *Registry) Counter(o Opts) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: o.Name, Help: o.Help})
	r.declare("counter", o, false, c)
	return c
}

// CounterVec declares counters by label.
func (r *Registry) CounterVec(o Opts) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: o.Name, Help: o.Help}, o.Labels)
	r.declare("counter", o, true, c)
	return c
}

// CounterFunc declares a counter that is kept elsewhere. f must not block and
// must never return less than before.
func (r *Registry) CounterFunc(o Opts, f func() float64) {
	r.declare("counter", o, false, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: o.Name, Help: o.Help}, f))
}

// Gauge declares a gauge.
func (r *Registry) Gauge(o Opts) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: o.Name, Help: o.Help})
	r.declare("gauge", o, false, g)
	return g
}

// GaugeVec declares gauges by label.
func (r *Registry) GaugeVec(o Opts) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: o.Name, Help: o.Help}, o.Labels)
	r.declare("gauge", o, true, g)
	return g
}

// GaugeFunc declares a gauge that is read when it is scraped. f must not block.
func (r *Registry) GaugeFunc(o Opts, f func() float64) {
	r.declare("gauge", o, false, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: o.Name, Help: o.Help}, f))
}

// Histogram declares a histogram.
func (r *Registry) Histogram(o Opts) prometheus.Histogram {
	h := prometheus.NewHistogram(histogramOpts(o))
	r.declare("histogram", o, false, h)
	return h
}

// HistogramVec declares histograms by label.
func (r *Registry) HistogramVec(o Opts) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(histogramOpts(o), o.Labels)
	r.declare("histogram", o, true, h)
	return h
}

func histogramOpts(o Opts) prometheus.HistogramOpts {
	if o.Buckets == nil {
		o.Buckets = LatencyBuckets
	}
	return prometheus.HistogramOpts{Name: o.Name, Help: o.Help, Buckets: o.Buckets}
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)+$`)

func (r *Registry) declare(kind string, o Opts, vec bool, c prometheus.Collector) {
	if fault := faultOf(kind, o, vec); fault != "" {
		panic(fmt.Sprintf("prom: metric %q: %s", o.Name, fault))
	}
	r.reg.MustRegister(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.descriptions[o.Name] = Description{Name: o.Name, Type: kind, Unit: o.Unit, Help: o.Help, Labels: slices.Clone(o.Labels)}
}

func faultOf(kind string, o Opts, vec bool) string {
	switch {
	case !nameRule.MatchString(o.Name):
		return "names are lower case words joined by _"
	case (kind == "counter") != strings.HasSuffix(o.Name, "_total"):
		return "counters end in _total, others do not"
	case o.Unit != "" && !strings.HasSuffix(strings.TrimSuffix(o.Name, "_total"), "_"+o.Unit):
		return "the name does not end in the unit " + o.Unit
	case !strings.HasSuffix(o.Help, "."):
		return "help is a sentence and ends in a full stop"
	case vec != (len(o.Labels) > 0):
		return "labels belong to the Vec constructors, and those need some"
	case kind != "histogram" && o.Buckets != nil:
		return "buckets belong to histograms"
	}
	return ""
}
