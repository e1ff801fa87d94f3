// Package otel gives what the kit's observers see to OpenTelemetry.
//
// It needs the metrics API alone: which SDK, exporter and views there are is the business of whoever makes the
// MeterProvider. Names are `dougong.<package>.<noun>`, units are UCUM, and attributes are resolved when an observer
// is made, so that a call of one costs what the SDK costs.
//
// Do not use it beside adapters/prom for the same limit or breaker unless both are wanted: each counts by itself.
//
//	limits, err := otel.NewLimits(provider)
//	// … check err, then:
//	scoring, err := limit.New(limit.DefaultConfig(), limit.WithObserver(limits.Observer("scoring")))
//	// … check err, then:
//	registration, err := limits.Watch("scoring", scoring)
package otel
