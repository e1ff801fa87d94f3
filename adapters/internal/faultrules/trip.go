package faultrules

import (
	"slices"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// Case strikes a point with an effect, such as "panic":{}, and looks at what comes of it. The rule is in force already.
type Case struct {
	Point, Effect string
	Check         func(*testing.T, *fault.Set)
}

// Trip is faulttest.Trip for points of which each has some cases, with a set of its own for every case. It fails if a
// point that the package in the working directory declares has no case, or if a case does not have its point struck.
func Trip(t *testing.T, cases []Case) {
	t.Helper()
	declared := faulttest.Names(t, ".")
	if len(declared) == 0 {
		t.Error("no points are declared")
	}
	for _, name := range declared {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Point == name }) {
			t.Errorf("point %s is declared, and no case trips it", name)
		}
	}
	for _, c := range cases {
		t.Run(c.Point+" "+c.Effect, func(t *testing.T) {
			set := faulttest.New(t)
			Put(t, set, `{"point":"`+c.Point+`",`+c.Effect+`}`)
			c.Check(t, set)
			if hits := faulttest.Hits(set, c.Point); hits < 1 {
				t.Errorf("%s was struck %d times", c.Point, hits)
			}
		})
	}
}
