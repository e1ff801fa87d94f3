package dougong

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
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
	points := declaredPoints(t)
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

// declaredPoints reads the points of all packages from the source, by name.
func declaredPoints(t *testing.T) []declaredPoint {
	t.Helper()
	var points []declaredPoint
	err := fs.WalkDir(os.DirFS("."), ".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); dir != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || dir == "bench" || dir == "test" || dir == "examples") {
			return fs.SkipDir
		}
		for _, def := range faulttest.Defs(t, dir) {
			points = append(points, declaredPoint{dir, def})
		}
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
