package main

import (
	"fmt"
	"slices"
)

// printTable prints what an operation took, and how many times that of the first contestant it is.
func printTable(title string, contests []*contest) {
	fmt.Printf("\n%s\n", title)
	fmt.Printf("  %-62s %10s %8s %18s %10s\n", "", "CPU ns", "allocs", "least … most", "× first")
	for _, c := range contests {
		fmt.Printf("  %-62s %10.1f %8.2f %18s %10.2f\n", c.name, median(c.ns), c.allocs,
			fmt.Sprintf("%.1f … %.1f", slices.Min(c.ns), slices.Max(c.ns)), ratio(c, contests[0]))
	}
}

// ceiling prints a bar that must not be exceeded, and keeps whether it was held.
func (b *bench) ceiling(what string, got, bar float64, unit string) {
	b.judge(what, got, bar, "at most", unit, got <= bar)
}

// floor prints a bar that must be reached.
func (b *bench) floor(what string, got, bar float64, unit string) {
	b.judge(what, got, bar, "at least", unit, got >= bar)
}

func (b *bench) judge(what string, got, bar float64, word, unit string, held bool) {
	verdict := "FAIL"
	if held {
		verdict = "PASS"
	}
	b.bars = append(b.bars, held)
	fmt.Printf("%s  %s: %.4g%s, %s %.4g%s\n", verdict, what, got, unit, word, bar, unit)
}

// ratio is how many times as much a takes as base: the median of the rounds' own ratios.
func ratio(a, base *contest) float64 {
	ratios := make([]float64, len(a.ns))
	for i := range ratios {
		ratios[i] = a.ns[i] / base.ns[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// note prints a figure without a bar, below one that has.
func (b *bench) note(what string, got float64, unit string) {
	fmt.Printf("      %s: %.4g%s\n", what, got, unit)
}
