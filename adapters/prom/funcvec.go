package prom

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// FuncVec is a metric with labels whose values are kept elsewhere and read
// when they are scraped.
type FuncVec struct {
	desc *prometheus.Desc
	kind prometheus.ValueType

	mu     sync.Mutex
	series map[string]funcSeries // by joined label values
}

type funcSeries struct {
	values []string
	f      func() float64
}

// GaugeFuncVec declares gauges that are read when they are scraped.
func (r *Registry) GaugeFuncVec(o Opts) *FuncVec { return r.funcVec("gauge", prometheus.GaugeValue, o) }

// CounterFuncVec declares counters that are kept elsewhere.
func (r *Registry) CounterFuncVec(o Opts) *FuncVec {
	return r.funcVec("counter", prometheus.CounterValue, o)
}

// UntypedFuncVec declares counts under a name that a field knows without _total.
// As counters, OpenMetrics would add that to the name.
func (r *Registry) UntypedFuncVec(o Opts) *FuncVec {
	return r.funcVec("untyped", prometheus.UntypedValue, o)
}

func (r *Registry) funcVec(kind string, value prometheus.ValueType, o Opts) *FuncVec {
	v := &FuncVec{desc: prometheus.NewDesc(o.Name, o.Help, o.Labels, nil), kind: value, series: make(map[string]funcSeries)}
	r.declare(kind, o, true, v)
	return v
}

const labelSeparator = "\xff" // not part of any UTF-8 text

// Add reports f under the label values, in place of what was there. f must not
// block, and must not use the registry. Add panics when there are more or fewer
// values than labels, or one that is not UTF-8: no scrape would work any more.
func (v *FuncVec) Add(f func() float64, labelValues ...string) {
	if _, err := prometheus.NewConstMetric(v.desc, v.kind, 0, labelValues...); err != nil {
		panic(fmt.Sprintf("prom: %v: %v", v.desc, err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.series[strings.Join(labelValues, labelSeparator)] = funcSeries{slices.Clone(labelValues), f}
}

// Remove ends the series with the label values.
func (v *FuncVec) Remove(labelValues ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.series, strings.Join(labelValues, labelSeparator))
}

// Describe implements prometheus.Collector.
func (v *FuncVec) Describe(c chan<- *prometheus.Desc) { c <- v.desc }

// Collect implements prometheus.Collector.
func (v *FuncVec) Collect(c chan<- prometheus.Metric) {
	v.mu.Lock()
	all := make([]funcSeries, 0, len(v.series))
	for _, s := range v.series {
		all = append(all, s)
	}
	v.mu.Unlock()
	for _, s := range all {
		m, err := prometheus.NewConstMetric(v.desc, v.kind, s.f(), s.values...)
		if err != nil {
			m = prometheus.NewInvalidMetric(v.desc, err)
		}
		c <- m
	}
}
