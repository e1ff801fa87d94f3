package faulttest

import (
	"go/ast"
	"go/parser"
	"slices"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
)

// TestDefsThatAreNoLiteralsAreSeen breaks the rules of declarations once each.
func TestDefsThatAreNoLiteralsAreSeen(t *testing.T) {
	for want, source := range map[string]string{
		"is no literal":       `fault.Def{Name: name, Doc: "It is."}`,
		"a sentence":          `fault.Def{Name: "a.b", Doc: "no full stop"}`,
		"names of its fields": `fault.Def{"a.b", "It is.", nil, 0}`,
		"the Effects of a fault.Def are no literals": `fault.Def{Name: "a.b", Doc: "It is.", Effects: some}`,
		"it needs a name":                         `fault.Def{Doc: "It is."}`,
		"the Attrs of a fault.Def are no literal": `fault.Def{Name: "a.b", Doc: "It is.", Attrs: list}`,
	} {
		e, err := parser.ParseExpr(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := defOf(e.(*ast.CompositeLit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestDefIsReadAsItIsWritten(t *testing.T) {
	e, err := parser.ParseExpr(`fault.Def{Name: "a.b", Doc: "It " + "is.", Attrs: []string{"x", "y"}, Effects: fault.Call | fault.Lose, Guarded: true}`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := defOf(e.(*ast.CompositeLit))
	if err != nil || d.Name != "a.b" || d.Doc != "It is." || !slices.Equal(d.Attrs, []string{"x", "y"}) || d.Effects != fault.Call|fault.Lose || !d.Guarded {
		t.Errorf("%+v, %v", d, err)
	}
}
