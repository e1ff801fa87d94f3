package faultadmin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/problem"
)

const maxBody = 1 << 20

// Routes are the handlers by their patterns of [http.ServeMux]. Changes are those of source. They are safe for
// concurrent use; who may call them is the caller's to decide.
func Routes(set *fault.Set, source string) map[string]http.Handler {
	a := admin{set, source}
	routes := map[string]http.Handler{"GET /faults": http.HandlerFunc(a.status)}
	for pattern, change := range map[string]func(*http.Request) (changed []string, err error){
		"PUT /faults":               a.replace,
		"DELETE /faults":            a.clear,
		"PUT /faults/rules/{id}":    a.put,
		"DELETE /faults/rules/{id}": a.remove,
		"PUT /faults/kill":          func(*http.Request) ([]string, error) { return nil, set.Kill(source, true) },
		"DELETE /faults/kill":       func(*http.Request) ([]string, error) { return nil, set.Kill(source, false) },
	} {
		routes[pattern] = a.changing(change)
	}
	return routes
}

type admin struct {
	set    *fault.Set
	source string
}

func (a admin) status(w http.ResponseWriter, _ *http.Request) { answer(w, a.set.Status()) }

// Changed is what a change that set rules answers.
type Changed struct {
	Rules []fault.RuleStatus `json:"rules"`
}

func (a admin) changing(change func(*http.Request) ([]string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids, err := change(r)
		if err != nil {
			problem.Write(w, problemOf(err))
			return
		}
		if ids == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		changed := Changed{Rules: []fault.RuleStatus{}}
		for _, rule := range a.set.Status().Rules {
			if rule.Source == a.source && slices.Contains(ids, rule.ID) {
				changed.Rules = append(changed.Rules, rule)
			}
		}
		answer(w, changed)
	})
}

func (a admin) replace(r *http.Request) ([]string, error) {
	body, err := read(r)
	if err != nil {
		return nil, err
	}
	d, err := fault.Parse(body)
	if err != nil {
		return nil, err
	}
	apply := func() error { return a.set.Replace(a.source, d.Rules) }
	if d.Kill {
		apply = func() error { return a.set.Apply(a.source, d) }
	}
	if err := apply(); err != nil {
		return nil, err
	}
	ids := make([]string, len(d.Rules))
	for i, rule := range d.Rules {
		ids[i] = rule.ID
	}
	return ids, nil
}

func (a admin) clear(*http.Request) ([]string, error) {
	return nil, a.set.Replace(a.source, nil)
}

func (a admin) put(r *http.Request) ([]string, error) {
	body, err := read(r)
	if err != nil {
		return nil, err
	}
	rule, err := parseRule(body, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return []string{rule.ID}, a.set.Put(a.source, rule)
}

func (a admin) remove(r *http.Request) ([]string, error) {
	return nil, a.set.Remove(a.source, r.PathValue("id"))
}

// parseRule reads a rule that has the id of its path, or none.
func parseRule(body []byte, id string) (fault.Rule, error) {
	var rule fault.Rule
	if err := rule.UnmarshalJSON(body); err != nil {
		return rule, fmt.Errorf("fault: rule: %w", err)
	}
	if rule.ID != "" && rule.ID != id {
		return rule, fmt.Errorf("fault: rule: id: is %q in the body and %q in the path", rule.ID, id)
	}
	rule.ID = id
	if err := rule.Validate(); err != nil {
		return rule, fmt.Errorf("fault: rule: %w", err)
	}
	return rule, nil
}

var errTooLarge = errors.New("fault: the body is too large")

func read(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("fault: reading the body: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%w: at most %d bytes are read", errTooLarge, maxBody)
	}
	return body, nil
}

func problemOf(err error) *problem.Problem {
	status, code := http.StatusBadRequest, "invalid_faults"
	switch {
	case errors.Is(err, fault.ErrNoRule):
		status, code = http.StatusNotFound, "no_such_rule"
	case errors.Is(err, fault.ErrCeiling):
		status, code = http.StatusForbidden, "beyond_ceiling"
	case errors.Is(err, fault.ErrCompiledOut):
		status, code = http.StatusNotImplemented, "no_faults_in_build"
	case errors.Is(err, fault.ErrClosed):
		status, code = http.StatusServiceUnavailable, "stopping"
	case errors.Is(err, errTooLarge):
		status, code = http.StatusRequestEntityTooLarge, "too_large"
	}
	return &problem.Problem{Status: status, Code: code, Detail: err.Error()}
}

func answer(w http.ResponseWriter, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		problem.Write(w, &problem.Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}
