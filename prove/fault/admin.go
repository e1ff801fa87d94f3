package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// adminClient speaks to the admin port of a service. It keeps no token: the file is read for each call.
type adminClient struct {
	base      string
	tokenFile string
}

// adminPatience bounds a call to the admin port.
const adminPatience = 3 * time.Second

// transport is for all admin ports. A process that was killed leaves connections that are of no use, so none is kept
// for long.
var transport = &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Second}

// errAnswer is an answer that is no success.
type errAnswer struct {
	status int
	detail string
}

func (e *errAnswer) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s", e.status, e.detail))
}

const maxAnswer = 8 << 20

// call makes one request. It returns the body of a success, else an *errAnswer or an error of the network.
func (a adminClient) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	status, answer, err := a.get(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if status >= 300 {
		var problem struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
		}
		_ = json.Unmarshal(answer, &problem) // else it says nothing
		detail := problem.Detail
		if detail == "" {
			detail = problem.Title
		}
		return nil, &errAnswer{status, detail}
	}
	return answer, nil
}

func (a adminClient) get(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.base, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Accept", "application/json")
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.tokenFile != "" {
		token, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return 0, nil, fmt.Errorf("token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, answer, err
}

// put puts a rule in force.
func (a adminClient) put(ctx context.Context, id string, rule []byte) error {
	_, err := a.call(ctx, http.MethodPut, "/faults/rules/"+url.PathEscape(id), rule)
	return err
}

// remove takes a rule back, and says whether it was there.
func (a adminClient) remove(ctx context.Context, id string) (bool, error) {
	_, err := a.call(ctx, http.MethodDelete, "/faults/rules/"+url.PathEscape(id), nil)
	var answer *errAnswer
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// faultsStatus is what this package reads of GET /faults; a later version may say more.
type faultsStatus struct {
	Killed []string `json:"killed"`
	Rules  []struct {
		ID   string `json:"id"`
		Hits uint64 `json:"hits"`
	} `json:"rules"`
}

func (a adminClient) faults(ctx context.Context) (faultsStatus, error) {
	var status faultsStatus
	answer, err := a.call(ctx, http.MethodGet, "/faults", nil)
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal(answer, &status)
}

// hits says how often a rule struck.
func (a adminClient) hits(ctx context.Context, id string) (uint64, error) {
	status, err := a.faults(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range status.Rules {
		if r.ID == id {
			return r.Hits, nil
		}
	}
	return 0, fmt.Errorf("%s does not list rule %s", a.base, id)
}

// Signs are what a service says of itself that it does not say when it is well.
const (
	signSilent   = "no answer"
	signNotReady = "not ready"
	signCircuit  = "circuit "
	signState    = "state "
)

// look asks a service how it is. It returns its signs, sorted; none if it is well.
func (a adminClient) look(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	status, body, err := a.get(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return []string{signSilent}
	}
	var signs []string
	if status != http.StatusOK {
		signs = append(signs, signNotReady)
	}
	var ready struct {
		State string `json:"state"`
	}
	if json.Unmarshal(body, &ready) == nil && ready.State != "" && ready.State != "Ready" {
		signs = append(signs, signState+ready.State)
	}
	if status, body, err = a.get(ctx, http.MethodGet, "/statusz", nil); err == nil && status == http.StatusOK {
		var document any
		if json.Unmarshal(body, &document) == nil {
			signs = circuits(signs, document)
		}
	}
	slices.Sort(signs)
	return slices.Compact(signs)
}

// silence is how long a service may take to say how it is.
const silence = 500 * time.Millisecond

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
