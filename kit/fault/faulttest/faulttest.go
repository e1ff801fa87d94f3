package faulttest

import (
	"maps"
	"slices"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
)

// New returns a set whose rules need no expiry. The test is skipped in a build without faults.
func New(t testing.TB, opts ...fault.Option) *fault.Set {
	t.Helper()
	config := fault.DefaultConfig()
	config.Ceiling.Lifetime = fault.Forever
	set, err := fault.New(config, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if set.Status().CompiledOut {
		t.Skip("this build has no faults")
	}
	t.Cleanup(set.Close)
	return set
}

// Put sets a rule, whose id is "r" if it has none.
func Put(t testing.TB, set *fault.Set, r fault.Rule) {
	t.Helper()
	if r.ID == "" {
		r.ID = "r"
	}
	if err := set.Put(fault.Admin, r); err != nil {
		t.Fatal(err)
	}
}

// Clear takes all rules away.
func Clear(t testing.TB, set *fault.Set) {
	t.Helper()
	if err := set.Apply(fault.Admin, fault.Document{Version: fault.Version}); err != nil {
		t.Fatal(err)
	}
}

// Hits is how often a point was struck; -1 if there is none of that name.
func Hits(set *fault.Set, point string) int64 {
	for _, p := range set.Status().Points {
		if p.Name == point {
			return p.Hits
		}
	}
	return -1
}

// Panics reports whether f panics as a rule has it, and fails the test if it panics otherwise.
func Panics(t testing.TB, f func()) (panicked bool) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			if _, panicked = v.(*fault.Panicked); !panicked {
				t.Errorf("panicked with %v", v)
			}
		}
	}()
	f()
	return false
}

// Trip runs a case for every point that the package in the working directory declares, each with a set of its own.
// It fails if a point has no case, if a case has no point, or if a case does not have its point struck.
func Trip(t *testing.T, cases map[string]func(t *testing.T, set *fault.Set)) {
	t.Helper()
	declared := Names(t, ".")
	for _, name := range declared {
		if cases[name] == nil {
			t.Errorf("point %s is declared, and no case trips it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if !slices.Contains(declared, name) {
			t.Errorf("the case %s is of no point that is declared", name)
		}
		t.Run(name, func(t *testing.T) {
			set := New(t)
			cases[name](t, set)
			if hits := Hits(set, name); hits < 1 {
				t.Errorf("point %s was struck %d times", name, hits)
			}
		})
	}
}

// Names are those of the points that the package in a folder declares, sorted.
func Names(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	for _, d := range Defs(t, dir) {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return names
}
