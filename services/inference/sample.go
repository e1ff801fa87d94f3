package inference

import (
	"log/slog"
	"math/rand/v2"
)

// SampleConfig says which predictions are logged.
type SampleConfig struct {
	Rate   float64 `json:"rate" doc:"Share of the predictions that are logged, 0 to 1. What is logged: model, version, protocol, tenant, rows, result, and how long it waited and took."`
	Values bool    `json:"values" doc:"Log the first row and its answer, too. They are people's data in most models: off, a line says redacted in their place."`
}

// sample is what a logged prediction shows of its rows.
type sample struct {
	chosen        bool
	model         string
	version       string
	input, output []float64 // of the first row; nil: redacted
}

func (s *Service) choose() sample {
	rate := s.cfg.Sample.Rate
	return sample{chosen: rate > 0 && (rate >= 1 || rand.Float64() < rate)}
}

// note keeps what a chosen prediction shows. The memory of rows does not outlive their slot, so these are copies.
func (x *exchange) note(v *served, values, outputs []float64) {
	if !x.chosen {
		return
	}
	x.model, x.version = v.Model, v.Name
	if x.service.cfg.Sample.Values && len(values) > 0 {
		x.input = append([]float64{}, values[:v.Features()]...)
		x.output = append([]float64{}, outputs[:v.Outputs()]...)
	}
}

// log writes the line of a chosen prediction.
func (x *exchange) log() {
	if !x.chosen {
		return
	}
	by := x.model + "/" + x.version
	if x.by != nil {
		by = x.by.named[0]
	}
	x.service.deps.Log.LogAttrs(x.ctx, slog.LevelInfo, "prediction",
		slog.String("model", x.model), slog.String("version", x.version), slog.String("served_by", by), slog.String("protocol", x.kind.String()), slog.String("tenant", x.tenant),
		slog.Int("rows", x.rows), slog.String("result", x.result.String()), slog.Int64("queued_us", x.queued.Microseconds()),
		slog.Int64("computed_us", x.computed.Microseconds()), slog.Int64("took_us", x.took.Microseconds()),
		slog.Any("input", shown(x.input)), slog.Any("output", shown(x.output)))
}

// shown is a row for the log: JSON has no number for a value that is missing.
func shown(row []float64) any {
	if row == nil {
		return "redacted"
	}
	values := make([]any, len(row))
	for i, v := range row {
		if v == v { // not NaN
			values[i] = v
		}
	}
	return values
}
