package prom

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// pictures are metrics that are read together, so that a scrape takes one picture of each source and its numbers fit
// each other.
type pictures struct {
	descs []*prometheus.Desc
	kinds []prometheus.ValueType

	mu      sync.Mutex
	sources map[string]func(emit) // by name
}

// emit reports a value of the metric with that index.
type emit func(metric int, value float64, labelValues ...string)

// picture is one of the metrics.
type picture struct {
	kind string // gauge or counter
	Opts
}

func (r *Registry) pictures(all ...picture) *pictures {
	p := &pictures{sources: make(map[string]func(emit))}
	for _, m := range all {
		kind := prometheus.GaugeValue
		if m.kind == "counter" {
			kind = prometheus.CounterValue
		}
		p.descs, p.kinds = append(p.descs, prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)), append(p.kinds, kind)
	}
	r.declare(all[0].kind, all[0].Opts, true, p) // registers all of them
	for _, m := range all[1:] {
		r.describe(m.kind, m.Opts)
	}
	return p
}

// describe notes a metric with labels whose collector is registered.
func (r *Registry) describe(kind string, o Opts) {
	if fault := faultOf(kind, o, true); fault != "" {
		panic(fmt.Sprintf("prom: metric %q: %s", o.Name, fault))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.descriptions[o.Name] = Description{Name: o.Name, Type: kind, Unit: o.Unit, Help: o.Help, Labels: slices.Clone(o.Labels)}
}

// set has the source of that name pictured by f, which must not block.
func (p *pictures) set(name string, f func(emit)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources[name] = f
}

func (p *pictures) remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sources, name)
}

// Describe implements prometheus.Collector.
func (p *pictures) Describe(c chan<- *prometheus.Desc) {
	for _, d := range p.descs {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (p *pictures) Collect(c chan<- prometheus.Metric) {
	p.mu.Lock()
	sources := make([]func(emit), 0, len(p.sources))
	for _, f := range p.sources {
		sources = append(sources, f)
	}
	p.mu.Unlock()
	for _, f := range sources {
		f(func(metric int, value float64, labelValues ...string) {
			for i, v := range labelValues {
				labelValues[i] = strings.ToValidUTF8(v, "\uFFFD") // keys may come from anywhere
			}
			m, err := prometheus.NewConstMetric(p.descs[metric], p.kinds[metric], value, labelValues...)
			if err != nil {
				m = prometheus.NewInvalidMetric(p.descs[metric], err)
			}
			c <- m
		})
	}
}
