package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
)

const (
	oursWithin  = 1e-6
	peersWithin = 2.5e-6 // the peers sum in another order or precision
)

// parity checks our answers to every row of every model.
func parity(o *options, w io.Writer) (sound bool, err error) {
	loans := filepath.Join(o.data, "loan-default/cases.csv")
	sound = true
	fmt.Fprintf(w, "Our answers against XGBoost's, at most %g apart:\n", oursWithin)
	for _, m := range []struct {
		name, model, cases string
		features           int
		expected           []string
	}{
		{"loan-default", o.full, loans, 72, []string{"full"}},
		{"loan-default v2", o.v2, loans, 72, []string{"v2"}},
		{"loan-lite", o.lite, loans, 72, []string{"lite"}},
		{"loan-mini", o.mini, filepath.Join(o.data, "loan-mini/cases.csv"), 2, []string{"expected"}},
		{"wine", o.wine, filepath.Join(o.data, "wine/cases.csv"), 13, []string{"expected0", "expected1", "expected2"}},
	} {
		c, err := readCases(m.cases, m.features, m.expected...)
		if err != nil {
			return false, err
		}
		_, model, err := readModel(m.model)
		if err != nil {
			return false, err
		}
		worst := 0.0
		for _, batch := range []int{1, c.len()} { // either kernel
			got := make([]float64, batch*model.Outputs())
			for at := 0; at < c.len(); at += batch {
				if err := model.Predict(got, c.rows[at*m.features:(at+batch)*m.features]); err != nil {
					return false, err
				}
				for i, x := range got {
					if d := math.Abs(x - c.expected[at*model.Outputs()+i]); !(d <= worst) {
						worst = d
					}
				}
			}
		}
		sound = sound && worst <= oursWithin
		fmt.Fprintf(w, "  %-16s %5d rows  %.2g  %s\n", m.name, c.len(), worst, verdict(worst <= oursWithin))
	}
	return sound, nil
}

// verify keeps the engines that answer as the training library did; ours must.
func verify(engines []*engine, c *cases, w io.Writer) (kept []*engine, err error) {
	fmt.Fprintln(w, "Each engine's answers to the rows that are timed:")
	for _, e := range engines {
		within := peersWithin
		if e.name == portable || e.name == assembly {
			within = oursWithin
		}
		worst, err := e.worst(c.expected)
		if err != nil {
			return kept, err
		}
		fmt.Fprintf(w, "  %-18s %.2g apart, %g allowed  %s\n", e.name, worst, within, verdict(worst <= within))
		if !(worst <= within) {
			return kept, fmt.Errorf("%s does not score this model", e.name)
		}
		kept = append(kept, e)
	}
	return kept, nil
}

func verdict(ok bool) string {
	if ok {
		return "PASS"
	}
	return "FAIL"
}
