package fault

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/loopback"
)

// adminClient speaks to the admin port of a service. It keeps no token: the file is read for each call.
type adminClient struct {
	base      string
	tokenFile string
}

// local tells whether the service is on this machine, and has its clock.
func (a adminClient) local() bool {
	u, err := url.Parse(a.base)
	return err == nil && loopback.Host(u.Hostname())
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
		return nil, refusal(status, answer)
	}
	return answer, nil
}

func refusal(status int, answer []byte) *errAnswer {
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(answer, &problem) // else it says nothing
	return &errAnswer{status, cmp.Or(problem.Detail, problem.Title)}
}

// errToken says that the token could not be read, so that nothing was asked.
var errToken = errors.New("token")

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
			return 0, nil, fmt.Errorf("%w: %w", errToken, err)
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
	Killed []string             `json:"killed"`
	Points []inject.PointStatus `json:"points"`
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
