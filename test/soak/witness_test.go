//go:build linux

package soak

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// examples are the rows of the smallest model with the answers of the library that trained it.
const (
	miniCases = "../../examples/data/loan-mini/cases.csv"
	loanCases = "../../examples/data/loan-default/cases.csv"
	tolerance = 1e-6
)

// question is a request and what a right answer has.
type question struct {
	body string
	want []float64
}

// miniQuestion asks loan-mini for so many rows, over and over from the first; for one it uses the form of a single row.
func miniQuestion(t *testing.T, rows int) question {
	t.Helper()
	f, err := os.Open(miniCases)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases, err := csv.NewReader(f).ReadAll()
	if err != nil || len(cases) < 2 || !slices.Equal(cases[0], []string{"int_rate", "revol_util", "expected"}) {
		t.Fatalf("%s: %v", miniCases, err)
	}
	cases = cases[1:]
	var q question
	var inputs []string
	for i := range rows {
		row := cases[i%len(cases)]
		for k, cell := range row[:2] {
			if cell == "" {
				row[k] = "null"
			}
		}
		want, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		inputs, q.want = append(inputs, "["+row[0]+","+row[1]+"]"), append(q.want, want)
	}
	q.body = `{"model":"loan-mini","inputs":[` + strings.Join(inputs, ",") + `]}`
	if rows == 1 {
		q.body = `{"model":"loan-mini","input":` + inputs[0] + `}`
	}
	return q
}

// Ends of a request that a caller can live with.
const (
	right   = "right"   // 200 with the right answer
	shed    = "shed"    // 503 that says when to try again
	expired = "expired" // 504 for a caller who said how long it waits
)

// ask sends the question and judges the whole answer. deadline is what the server is told; 0 tells it nothing. The caller
// itself waits longer. An error is an answer that must not be.
func (q question) ask(ctx context.Context, client *http.Client, base string, deadline time.Duration) (end string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/predict", strings.NewReader(q.body))
	if err != nil {
		return "", err
	}
	if deadline > 0 {
		r.Header.Set("X-Request-Timeout", deadline.String())
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode == http.StatusOK {
		return right, q.judge(body)
	}
	var problem struct {
		Status int
		Code   string
	}
	if err := json.Unmarshal(body, &problem); err != nil || answer.Header.Get("Content-Type") != "application/problem+json" || problem.Status != answer.StatusCode {
		return "", fmt.Errorf("%s without a problem document: %.200s", answer.Status, body)
	}
	switch {
	case problem.Status == http.StatusServiceUnavailable && problem.Code == "overloaded":
		if after, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || after < 1 {
			return "", fmt.Errorf("503 with Retry-After %q", answer.Header.Get("Retry-After"))
		}
		return shed, nil
	case problem.Status == http.StatusGatewayTimeout && problem.Code == "deadline_exceeded" && deadline > 0:
		return expired, nil
	}
	return "", fmt.Errorf("%s %.200s", answer.Status, body)
}

func (q question) judge(body []byte) error {
	var doc struct {
		Output  []float64
		Outputs [][]float64
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return fmt.Errorf("200 with %.200s: %w", body, err)
	}
	if len(q.want) == 1 {
		doc.Outputs = [][]float64{doc.Output}
	}
	if len(doc.Outputs) != len(q.want) {
		return fmt.Errorf("%d rows are answered by %d", len(q.want), len(doc.Outputs))
	}
	for i, want := range q.want {
		if len(doc.Outputs[i]) != 1 || !(math.Abs(doc.Outputs[i][0]-want) <= tolerance) {
			return fmt.Errorf("row %d is answered by %v, the training library says %v", i, doc.Outputs[i], want)
		}
	}
	return nil
}

// testimony is how the requests of witnesses ended.
type testimony struct {
	ends   map[string]int
	faults []string
}

// witnesses ask beside the load, one request at a time each, and look at every header and every row, which the load
// generator does not. stop ends them, fails the test for what must not be, and returns how often what came.
func (p *process) witnesses(n int, q question, deadline time.Duration) (stop func() testimony) {
	ctx, cancel := context.WithCancel(p.ctx)
	seen := testimony{ends: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				// What was asked is awaited also after the end, so that every refusal is counted on both sides.
				end, err := q.ask(p.ctx, client, p.http, deadline)
				mu.Lock()
				if err == nil {
					seen.ends[end]++
				} else if len(seen.faults) < 10 && !errors.Is(err, context.Canceled) {
					seen.faults = append(seen.faults, err.Error())
				}
				mu.Unlock()
				select { // at the pace of a caller, not of a load
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
	}
	return func() testimony {
		p.t.Helper()
		cancel()
		wg.Wait()
		p.alive()
		for _, fault := range seen.faults {
			p.t.Errorf("a witness got %s", fault)
		}
		if seen.ends[right] == 0 {
			p.t.Errorf("no witness got a right answer: %v", seen.ends)
		}
		return seen
	}
}
