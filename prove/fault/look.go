package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Signs are what a service says of itself that it does not say when it is well.
const (
	signSilent   = "no answer"
	signNotReady = "not ready"
	signCircuit  = "circuit "
	signState    = "state "
)

// silence is how long a service may take to say how it is.
const silence = 500 * time.Millisecond

// look is what a service says of itself when it is asked once.
type look struct {
	signs []string // sorted; none if it is well
	blind error    // why there may be signs that were not seen; nil: there are none
}

// errNoJSON says that /statusz is not what this package reads.
var errNoJSON = errors.New("it is no JSON")

// look asks a service how it is; /statusz only if that is wanted.
func (a adminClient) look(ctx context.Context, statusz bool) look {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	status, body, err := a.get(ctx, http.MethodGet, "/readyz", nil)
	switch {
	case errors.Is(err, errToken):
		return look{blind: err}
	case err != nil:
		return look{signs: []string{signSilent}}
	case forbidden(status): // that is about who asks, and not about the service
		return look{blind: fmt.Errorf("/readyz: %w", refusal(status, body))}
	}
	var l look
	if status != http.StatusOK {
		l.signs = append(l.signs, signNotReady)
	}
	var ready struct {
		State string `json:"state"`
	}
	if json.Unmarshal(body, &ready) == nil && ready.State != "" && ready.State != "Ready" {
		l.signs = append(l.signs, signState+ready.State)
	}
	if statusz {
		var document any
		if document, l.blind = a.statusz(ctx); l.blind == nil {
			l.signs = circuits(l.signs, document)
		}
	}
	slices.Sort(l.signs)
	l.signs = slices.Compact(l.signs)
	return l
}

func (a adminClient) statusz(ctx context.Context) (document any, err error) {
	status, body, err := a.get(ctx, http.MethodGet, "/statusz", nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", silence)
	case err != nil:
	case status != http.StatusOK:
		err = refusal(status, body)
	case json.Unmarshal(body, &document) != nil:
		err = errNoJSON
	}
	return document, wrapped(err, "/statusz")
}

func forbidden(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// readable finds out whether what a service says of itself can be read at all: else nothing would tell whether it
// detects a fault. One that has no /statusz says what it says by /readyz alone, and bare is true.
func (a adminClient) readable(ctx context.Context) (bare bool, err error) {
	for begin := time.Now(); ; {
		blind := a.look(ctx, true).blind
		var answer *errAnswer
		refused := errors.As(blind, &answer)
		switch {
		case blind == nil:
			return false, nil
		case refused && answer.status == http.StatusNotFound, errors.Is(blind, errNoJSON):
			return true, nil
		case refused && forbidden(answer.status):
			return false, fmt.Errorf("%w; give token_file, a token of the roles read and fault: without it nothing tells whether the service detects a fault", blind)
		case errors.Is(blind, errToken), time.Since(begin) > adminPatience:
			return false, fmt.Errorf("%w: nothing tells whether the service detects a fault", blind)
		}
		if err := pause(ctx, watchEvery); err != nil {
			return false, err
		}
	}
}

// circuits adds a sign for each state of a circuit other than closed: of members called breaker, circuit or
// circuits, however deep.
func circuits(signs []string, v any) []string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			signs = circuits(signs, e)
		}
	case map[string]any:
		for name, e := range v {
			if name == "breaker" || name == "circuit" || name == "circuits" {
				signs = states(signs, e)
			} else {
				signs = circuits(signs, e)
			}
		}
	}
	return signs
}

// states adds a sign for each word in v that is a state of a circuit other than closed.
func states(signs []string, v any) []string {
	switch v := v.(type) {
	case string:
		if slices.Contains([]string{"open", "half-open", "rising"}, v) {
			signs = append(signs, signCircuit+v)
		}
	case []any:
		for _, e := range v {
			signs = states(signs, e)
		}
	case map[string]any:
		for _, e := range v {
			signs = states(signs, e)
		}
	}
	return signs
}
