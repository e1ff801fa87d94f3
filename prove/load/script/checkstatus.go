package script

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// codeNames are the gRPC codes by number.
var codeNames = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// statusRule compares the status. It is one of several values, or has one bound.
type statusRule struct {
	op     string
	values []statusValue
}

// statusValue is a name, or the numbers from low to high.
type statusValue struct {
	name      string
	low, high int
}

func (p *checkParser) status() (rule, error) {
	r := &statusRule{}
	var err error
	if r.op, err = p.operator("==", "!=", "<", "<=", ">", ">=", "in"); err != nil {
		return nil, err
	}
	words := []string{p.rest}
	if r.op == "in" {
		words = strings.Split(p.rest, ",")
	}
	for _, word := range words {
		value, err := parseStatus(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		if (value.name != "" || value.low != value.high) && r.op[0] != '=' && r.op[0] != '!' && r.op != "in" {
			return nil, fmt.Errorf("%s takes one number", r.op)
		}
		r.values = append(r.values, value)
	}
	return r, nil
}

func parseStatus(word string) (statusValue, error) {
	if class, ok := strings.CutSuffix(word, "xx"); ok && len(class) == 1 && '1' <= class[0] && class[0] <= '5' {
		low := int(class[0]-'0') * 100
		return statusValue{low: low, high: low + 99}, nil
	}
	if n, err := strconv.ParseUint(word, 10, 16); err == nil && n <= 999 {
		return statusValue{low: int(n), high: int(n)}, nil
	}
	if slices.Contains(codeNames, word) {
		return statusValue{name: word}, nil
	}
	switch {
	case word == "":
		return statusValue{}, errors.New("no status; wanted a number such as 200, a class such as 2xx, or the name of a gRPC code")
	case strings.Contains(word, "{{"):
		return statusValue{}, errors.New("a status is no template; write a number, a class or a name")
	case strings.ContainsAny(word, ", "):
		return statusValue{}, fmt.Errorf("%q is no status; for several write: status in 200,201", show(cut(word, 40)))
	}
	return statusValue{}, fmt.Errorf("%q is no status%s; wanted a number such as 200, a class such as 2xx, or the name of a gRPC code", show(cut(word, 40)), suggest(word, codeNames))
}

func (r *statusRule) holds(_ *Context, a *Answer) (wanted, found string, ok bool) {
	first := &r.values[0]
	switch r.op {
	case "<":
		ok = a.Status < first.low
	case "<=":
		ok = a.Status <= first.low
	case ">":
		ok = a.Status > first.low
	case ">=":
		ok = a.Status >= first.low
	case "!=":
		ok = !first.has(a)
	default:
		for i := range r.values {
			if ok = r.values[i].has(a); ok {
				break
			}
		}
	}
	switch {
	case ok:
		return "", "", true
	case a.StatusName != "":
		return "", a.StatusName, false
	}
	return "", strconv.Itoa(a.Status), false
}

func (v *statusValue) has(a *Answer) bool {
	if v.name != "" {
		return a.StatusName == v.name
	}
	return v.low <= a.Status && a.Status <= v.high
}
