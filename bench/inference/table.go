package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// bar is how many times as fast as a peer an engine of ours must be.
type bar struct {
	ours, peer string
	batch      int
	times      float64
}

var bars = []bar{
	{portable, onnxRuntime, 1, 5},
	{portable, xgboost17, 1, 8},
	{portable, compiledC, 1, 1.5},
	{assembly, onnxRuntime, 1, 5},
	{assembly, xgboost17, 1, 8},
	{assembly, compiledC, 1, 1.5},
	{portable, onnxRuntime, 128, 2.5},
	{portable, xgboost17, 128, 2},
	{assembly, onnxRuntime, 128, 4},
	{assembly, xgboost17, 128, 4},
	{assembly, oneDAL, 128, 1},
}

var batches = []int{1, 128}

// table holds the medians of the rounds.
type table struct {
	engines []string
	median  map[string]map[int]slice // by engine and batch
}

// measure lets the engines take turns. Each batch begins with a slice that does not count.
func measure(engines []*engine, o *options) (*table, error) {
	t := &table{median: map[string]map[int]slice{}}
	for _, e := range engines {
		t.engines = append(t.engines, e.name)
		t.median[e.name] = map[int]slice{}
	}
	for _, batch := range batches {
		rounds := map[string][]slice{}
		for _, e := range engines {
			if err := e.prepare(batch); err != nil {
				return nil, err
			}
		}
		for round := range o.rounds + 1 {
			for _, e := range engines {
				s, err := e.run(o.slice)
				if err != nil {
					return nil, err
				}
				if round > 0 {
					rounds[e.name] = append(rounds[e.name], s)
				}
			}
		}
		for name, slices := range rounds {
			t.median[name][batch] = medianOf(slices)
		}
	}
	return t, nil
}

func medianOf(list []slice) slice {
	var ns, allocs []float64
	for _, s := range list {
		ns = append(ns, s.nsPerRow)
		allocs = append(allocs, s.allocsRow)
	}
	return slice{nsPerRow: median(ns), allocsRow: median(allocs)}
}

func median(list []float64) float64 {
	slices.Sort(list)
	if n := len(list); n%2 == 0 {
		return (list[n/2-1] + list[n/2]) / 2
	}
	return list[len(list)/2]
}

// print writes the table and answers whether all bars were reached. A bar whose peer is not installed
// is missed.
func (t *table) print(out io.Writer) bool {
	ok := true
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nCPU ns a row, one thread\tbatch 1\tbatch 128\tallocations a row\t")
	for _, name := range t.engines {
		m := t.median[name]
		allocs := "-"
		if name == portable || name == assembly {
			// A background goroutine of the runtime may allocate now and then.
			most := max(m[1].allocsRow, m[128].allocsRow)
			allocs = fmt.Sprintf("%.0f  %s", most, verdict(most < 0.001))
			ok = ok && most < 0.001
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%s\t\n", name, m[1].nsPerRow, m[128].nsPerRow, allocs)
	}
	fmt.Fprintln(w, "\ntimes as fast as\tbatch\tmeasured\tbar\t\t")
	for _, batch := range batches {
		for _, ours := range []string{portable, assembly} {
			for _, peer := range t.engines {
				if peer == portable || peer == assembly {
					continue
				}
				times := t.median[peer][batch].nsPerRow / t.median[ours][batch].nsPerRow
				required, judged := "-", ""
				for _, b := range bars {
					if b.ours == ours && b.peer == peer && b.batch == batch {
						required, judged = fmt.Sprintf("%.1f", b.times), verdict(times >= b.times)
						ok = ok && times >= b.times
					}
				}
				fmt.Fprintf(w, "%s : %s\t%d\t%.1f\t%s\t%s\t\n", ours, peer, batch, times, required, judged)
			}
		}
	}
	for _, b := range bars {
		if !slices.Contains(t.engines, b.peer) {
			fmt.Fprintf(w, "%s : %s\t%d\tnot measured\t%.1f\tFAIL\t\n", b.ours, b.peer, b.batch, b.times)
			ok = false
		}
	}
	w.Flush()
	return ok
}
