package faultadmin

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/spelling"
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
	head, begins := strings.CutSuffix(pattern, "*") // of inferense.* the beginning is judged
	names := make([]string, len(points))
	for i, p := range points {
		names[i] = p.Name
		if begins {
			names[i] = p.Name[:min(len(head), len(p.Name))]
		}
	}
	near := spelling.Nearest(head, names)
	if near == "" {
		return ""
	}
	if begins {
		pkg, _, _ := strings.Cut(points[slices.Index(names, near)].Name, ".")
		near = pkg + ".*"
	}
	return "; did you mean " + near + "?"
}
