package faultadmin

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dougong-io/dougong/kit/fault"
)

// Unreached says why a rule strikes none of the points that a process has, and which name was probably meant; "" if
// there is one that it can strike. Whoever sets a rule asks it before, or when the rule's state is [fault.Unmatched].
func Unreached(r fault.Rule, points []fault.PointStatus) string {
	var named []fault.PointStatus
	guarded := ""
	for _, p := range points {
		// Names and patterns hold neither slashes nor what else path.Match would take for more than itself.
		if ok, err := path.Match(r.Point, p.Name); err != nil || !ok {
			continue
		}
		if pkg, _, _ := strings.Cut(p.Name, "."); p.Guarded && !strings.HasPrefix(r.Point, pkg+".") {
			guarded = pkg
			continue
		}
		named = append(named, p)
	}
	switch {
	case len(points) == 0:
		return "the process has no points"
	case len(named) == 0 && guarded != "":
		return fmt.Sprintf("what %s matches is guarded: spell out the package, as in %s.*", r.Point, guarded)
	case len(named) == 0:
		return fmt.Sprintf("no point is called %s%s", r.Point, meant(r.Point, points))
	}
	able := slices.DeleteFunc(slices.Clone(named), func(p fault.PointStatus) bool { return !can(p, r.Effect()) })
	if len(able) == 0 {
		if len(named) == 1 {
			return fmt.Sprintf("the point %s cannot %s", named[0].Name, r.Effect())
		}
		return fmt.Sprintf("none of the %d points that %s matches can %s", len(named), r.Point, r.Effect())
	}
	asked := slices.Sorted(maps.Keys(r.Where))
	for _, p := range able {
		if !slices.ContainsFunc(asked, func(key string) bool { return !slices.Contains(p.Attributes, key) }) {
			return ""
		}
	}
	tells := "no attributes"
	if len(able[0].Attributes) > 0 {
		tells = strings.Join(able[0].Attributes, ", ")
	}
	if len(able) == 1 {
		return fmt.Sprintf("the point %s does not tell %s; it tells %s", able[0].Name, untold(asked, able[0].Attributes), tells)
	}
	return fmt.Sprintf("none of the %d points that %s matches tells %s; %s tells %s", len(able), r.Point, quoted(asked), able[0].Name, tells)
}

// can tells whether a point honours an effect.
func can(p fault.PointStatus, effect string) bool {
	switch effect {
	case "", "delay", "panic", "hang", "burn", "memory", "goroutines":
		return true
	}
	return slices.Contains(strings.Split(p.Effects, ", "), effect)
}

func untold(asked, told []string) string {
	return quoted(slices.DeleteFunc(slices.Clone(asked), func(key string) bool { return slices.Contains(told, key) }))
}

// quoted lists keys, which may be any text.
func quoted(keys []string) string {
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = fmt.Sprintf("%q", key)
	}
	return strings.Join(texts, ", ")
}

// meant is the end of a message: the point that was probably meant, if there is one.
func meant(pattern string, points []fault.PointStatus) string {
	const longest = 64 // beyond it nobody meant a name, and the distance costs its square
	if len(pattern) > longest {
		return ""
	}
	best, least := "", 2+len(pattern)/4
	for _, p := range points {
		name := p.Name
		if head, ok := strings.CutSuffix(pattern, "*"); ok { // of inferense.* the beginning is judged
			name = name[:min(len(head), len(name))]
			if d := distance(head, name); d < least {
				best, least = within(p.Name), d
			}
			continue
		}
		if d := distance(pattern, name); len(name) <= longest && d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// within is the pattern of all points of a point's package.
func within(name string) string {
	pkg, _, _ := strings.Cut(name, ".")
	return pkg + ".*"
}

// distance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for k := range last {
		last[k] = k
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for k := 1; k <= len(b); k++ {
			differ := 1
			if a[i-1] == b[k-1] {
				differ = 0
			}
			row[k] = min(last[k]+1, row[k-1]+1, last[k-1]+differ)
			if i > 1 && k > 1 && a[i-1] == b[k-2] && a[i-2] == b[k-1] {
				row[k] = min(row[k], before[k-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
