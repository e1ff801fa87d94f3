// Package faulttest is what the tests of fault points share: a set of rules, and the list of the points that a package
// declares, against which its cases are held.
package faulttest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
)

// New returns a set whose rules need no expiry. It is closed at the end of the test.
func New(t testing.TB, opts ...fault.Option) *fault.Set {
	t.Helper()
	c := fault.DefaultConfig()
	c.Ceiling.Lifetime = fault.Forever
	s, err := fault.New(c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Put puts rules into force, in place of those that there are. Each is JSON without an id, such as
// {"point":"x.y","panic":{}}. Where points are compiled out, the test is skipped.
func Put(t testing.TB, s *fault.Set, rules ...string) {
	t.Helper()
	d := fault.Document{Version: fault.Version}
	for i, text := range rules {
		r, err := fault.ParseRule([]byte(fmt.Sprintf(`{"id":"%d",`, i) + strings.TrimPrefix(text, "{")))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		d.Rules = append(d.Rules, r)
	}
	switch err := s.Apply(fault.Admin, d); {
	case errors.Is(err, fault.ErrCompiledOut):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// Hits is how often rules struck at a point.
func Hits(s *fault.Set, point string) int64 {
	for _, p := range s.Status().Points {
		if p.Name == point {
			return p.Hits
		}
	}
	return 0
}

// Covered is a ledger of the points that a test has tripped.
type Covered struct {
	mu     sync.Mutex
	points map[string]bool
}

// Trip notes that a case strikes a point, and checks at the end of that case that it did.
func (c *Covered) Trip(t testing.TB, s *fault.Set, point string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.points == nil {
		c.points = make(map[string]bool)
	}
	c.points[point] = true
	t.Cleanup(func() {
		if !t.Skipped() && Hits(s, point) == 0 {
			t.Errorf("%s was never struck", point)
		}
	})
}

// All checks that every point which the package in the working directory declares was tripped.
func (c *Covered) All(t testing.TB) {
	t.Helper()
	if s, err := fault.New(fault.DefaultConfig()); err != nil || s.Status().CompiledOut {
		return // no case could strike
	}
	declared := declaredIn(t, "faults.go")
	if len(declared) == 0 {
		t.Fatal("faults.go declares no points")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, point := range declared {
		if !c.points[point] {
			t.Errorf("%s has no case", point)
		}
		delete(c.points, point)
	}
	for point := range c.points {
		t.Errorf("%s is tripped, but faults.go does not declare it", point)
	}
}

// declaredIn lists the names of the fault.Def literals in a file.
func declaredIn(t testing.TB, file string) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(tree, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if of, ok := lit.Type.(*ast.SelectorExpr); !ok || of.Sel.Name != "Def" {
			return true
		}
		for _, e := range lit.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok || kv.Key.(*ast.Ident).Name != "Name" {
				continue
			}
			value, ok := kv.Value.(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s: the name of a point must be a literal", file)
			}
			name, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return true
	})
	slices.Sort(names)
	return names
}
