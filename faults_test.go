package dougong

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
)

var update = flag.Bool("update", false, "write docs/faults.md anew")

// TestFaultsDocument: docs/faults.md lists the points that the code declares.
func TestFaultsDocument(t *testing.T) {
	const file, begin, end = "docs/faults.md", "<!-- points: from the code -->\n", "<!-- end of points -->\n"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(page, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	points := declaredPoints(t, os.DirFS("."))
	if len(points) < 20 {
		t.Errorf("only %d points are found: does the search still fit?", len(points))
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(begin)
	b.WriteString("| point | in | attributes | effects | what happens there |\n|---|---|---|---|---|\n")
	for _, p := range points {
		var attributes []string
		for _, key := range p.def.Attrs {
			attributes = append(attributes, "`"+key+"`")
		}
		effects := cmp.Or(p.def.Effects.String(), "–")
		if p.def.Guarded {
			effects += "; guarded"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", p.def.Name, p.dir, cmp.Or(strings.Join(attributes, ", "), "–"), effects, p.def.Doc)
	}
	b.WriteString(end)
	b.Write(after)
	if bytes.Equal(b.Bytes(), page) {
		return
	}
	if !*update {
		t.Fatalf("%s does not list the points that the code has; run: go test . -run TestFaultsDocument -update", file)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

type declaredPoint struct {
	dir string
	def fault.Def
}

// declaredPoints reads the literals of fault.Def from the source, by name.
func declaredPoints(t *testing.T, tree fs.FS) []declaredPoint {
	t.Helper()
	var points []declaredPoint
	err := fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || file == "bench" || file == "test" || file == "examples") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		data, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, data, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok || !isSelector(literal.Type, "fault", "Def") {
				return true
			}
			def, err := pointOf(literal)
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			points = append(points, declaredPoint{path.Dir(file), def})
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(points, func(a, b declaredPoint) int { return cmp.Compare(a.def.Name, b.def.Name) })
	for i := range points {
		if i > 0 && points[i].def.Name == points[i-1].def.Name {
			t.Errorf("%s and %s both have the point %s", points[i-1].dir, points[i].dir, points[i].def.Name)
		}
	}
	return points
}

func isSelector(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func pointOf(literal *ast.CompositeLit) (def fault.Def, err error) {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			return def, fmt.Errorf("a fault.Def without the names of its fields")
		}
		switch key := pair.Key.(*ast.Ident).Name; key {
		case "Name":
			def.Name, err = text(pair.Value)
		case "Doc":
			def.Doc, err = text(pair.Value)
		case "Attrs":
			list, ok := pair.Value.(*ast.CompositeLit)
			if !ok {
				return def, fmt.Errorf("Attrs is no literal")
			}
			for _, e := range list.Elts {
				attr, err := text(e)
				if err != nil {
					return def, err
				}
				def.Attrs = append(def.Attrs, attr)
			}
		case "Guarded":
			def.Guarded = true
		case "Effects":
			def.Effects, err = effectsOf(pair.Value)
		}
		if err != nil {
			return def, err
		}
	}
	if def.Name == "" || !strings.HasSuffix(def.Doc, ".") || strings.ContainsAny(def.Doc, "|\n") {
		return def, fmt.Errorf("point %q: it needs a name, and a sentence of what happens there", def.Name)
	}
	return def, nil
}

func text(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := text(e.X)
		if err != nil {
			return "", err
		}
		right, err := text(e.Y)
		return left + right, err
	}
	return "", fmt.Errorf("a field of a fault.Def is no literal: lists are made from the source")
}

func effectsOf(e ast.Expr) (fault.Effects, error) {
	known := map[string]fault.Effects{
		"Fail": fault.Fail, "Lose": fault.Lose, "Mangle": fault.Mangle, "Skew": fault.Skew, "Stall": fault.Stall, "Call": fault.Call, "Bytes": fault.Bytes,
	}
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if effects, ok := known[e.Sel.Name]; ok {
			return effects, nil
		}
	case *ast.BinaryExpr:
		left, err := effectsOf(e.X)
		if err != nil {
			return 0, err
		}
		right, err := effectsOf(e.Y)
		return left | right, err
	}
	return 0, fmt.Errorf("Effects is no literal")
}

// TestFaultsDocumentSeesWhatIsWrong breaks the rules of declarations once each.
func TestFaultsDocumentSeesWhatIsWrong(t *testing.T) {
	for want, source := range map[string]string{
		"is no literal":         `fault.Def{Name: name, Doc: "It is."}`,
		"a sentence":            `fault.Def{Name: "a.b", Doc: "no full stop"}`,
		"names of its fields":   `fault.Def{"a.b", "It is.", nil, 0}`,
		"Effects is no literal": `fault.Def{Name: "a.b", Doc: "It is.", Effects: some}`,
		"it needs a name":       `fault.Def{Doc: "It is."}`,
		"Attrs is no literal":   `fault.Def{Name: "a.b", Doc: "It is.", Attrs: list}`,
	} {
		e, err := parser.ParseExpr(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pointOf(e.(*ast.CompositeLit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
}
