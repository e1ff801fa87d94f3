package faulttest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
)

// Defs reads the fault.Def literals from the Go files of a folder, tests excepted. It fails the test if one is not made of
// literals: lists of points are made from the source.
func Defs(t testing.TB, dir string) []fault.Def {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var defs []fault.Def
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok || !isSelector(literal.Type, "fault", "Def") {
				return true
			}
			def, err := defOf(literal)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			defs = append(defs, def)
			return true
		})
	}
	return defs
}

func isSelector(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func defOf(literal *ast.CompositeLit) (def fault.Def, err error) {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			return def, errors.New("a fault.Def without the names of its fields")
		}
		switch key := pair.Key.(*ast.Ident).Name; key {
		case "Name":
			def.Name, err = text(pair.Value)
		case "Doc":
			def.Doc, err = text(pair.Value)
		case "Attrs":
			list, ok := pair.Value.(*ast.CompositeLit)
			if !ok {
				return def, errors.New("the Attrs of a fault.Def are no literal")
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
	return "", errors.New("a field of a fault.Def is no literal: lists are made from the source")
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
	return 0, errors.New("the Effects of a fault.Def are no literals")
}
