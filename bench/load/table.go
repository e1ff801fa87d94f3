package main

import (
	"fmt"
	"math"
	"slices"
)

// line is a client in a table of costs.
type line struct {
	name   string
	run    func() (measured, error)
	micros []float64
}

// compare lets lines take turns and prints what a request cost each. The first round warms up and does not count, unless
// it is the only one.
func (b *bench) compare(title string, rounds int, lines ...*line) error {
	fmt.Printf("\n%s\n", title)
	warmUp := min(rounds-1, 1)
	for round := range rounds + warmUp {
		for _, l := range lines {
			m, err := l.run()
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			if round >= warmUp {
				l.micros = append(l.micros, m.micros())
			}
		}
	}
	fmt.Printf("  %-52s %14s %18s %20s\n", "", "CPU µs/request", "requests/CPU-s", "least … most µs")
	for _, l := range lines {
		m := median(l.micros)
		fmt.Printf("  %-52s %14.2f %18.0f %20s\n", l.name, m, 1e6/m, fmt.Sprintf("%.1f … %.1f", slices.Min(l.micros), slices.Max(l.micros)))
	}
	return nil
}

// judge prints a bar, which is a floor or a ceiling, and keeps whether it was held.
func (b *bench) judge(what string, got float64, floor bool, bar float64, unit string) {
	held, word, verdict := got <= bar, "at most", "FAIL"
	if floor {
		held, word = got >= bar, "at least"
	}
	if held {
		verdict = "PASS"
	}
	b.bars = append(b.bars, held)
	fmt.Printf("%s  %s: %.4g%s, %s %.4g%s\n", verdict, what, got, unit, word, bar, unit)
}

// ratio is how much more base takes a request than ours does: the median of the rounds' own ratios.
func ratio(base, ours *line) float64 {
	ratios := make([]float64, len(ours.micros))
	for i := range ratios {
		ratios[i] = base.micros[i] / ours.micros[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantilesOf reads sorted values by nearest rank.
func quantilesOf(sorted []float64) quantiles {
	var q quantiles
	for i, share := range [3]float64{0.5, 0.99, 0.999} {
		rank := int(math.Ceil(share*float64(len(sorted)) - 1e-6))
		q[i] = sorted[min(max(rank, 1), len(sorted))-1]
	}
	return q
}
