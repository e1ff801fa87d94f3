// Package prom gives the kit's observers and everybody's own numbers to
// Prometheus.
//
// A [Registry] is a registry of its own (nothing is global) that also remembers
// what was declared, so that a test can keep docs/metrics.md equal to the code.
// Names are `dougong_<package>_<noun>_<unit>`, or one that a field knows.
//
// Do not use it to read metrics, nor for labels whose values a client chooses.
//
//	reg := prom.New()
//	orders := reg.CounterVec(prom.Opts{Name: "dougong_order_placed_total", Help: "Orders placed.", Labels: []string{"channel"}})
//	orders.WithLabelValues("app").Inc()
//	scoring, err := limit.New(limit.DefaultConfig(), limit.WithObserver(prom.NewLimits(reg).Observer("scoring")))
//	// … check err, then:
//	http.Handle("GET /metrics", reg.Handler())
package prom
