package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
	"github.com/dougong-io/dougong/kit/loopback"
	"github.com/dougong-io/dougong/kit/problem"
)

// FaultClient talks to the admin port of a running process.
type FaultClient struct {
	URL       string // such as http://127.0.0.1:9090
	TokenFile string // with a bearer token of the role fault; empty: none
	CAFile    string // PEM of the authorities to trust; empty: the system's

	// PlaintextToken lets the token go to another machine over http, where whoever is on the way can read it.
	PlaintextToken bool
}

// ErrPlaintextToken is wrapped when a token would have gone to another machine over http. Nothing was sent.
var ErrPlaintextToken = errors.New("use https, or allow it with --plaintext-token if something else encrypts")

const (
	faultClientTimeout = 10 * time.Second
	faultAnswerBytes   = 16 << 20
)

// Status is what the process has of faults.
func (c FaultClient) Status(ctx context.Context) (fault.Status, error) {
	var status fault.Status
	return status, c.call(ctx, http.MethodGet, "/faults", nil, &status)
}

// Put sets one rule.
func (c FaultClient) Put(ctx context.Context, rule fault.Rule) (fault.RuleStatus, error) {
	var changed faultadmin.Changed
	if err := c.call(ctx, http.MethodPut, "/faults/rules/"+url.PathEscape(rule.ID), rule, &changed); err != nil {
		return fault.RuleStatus{}, err
	}
	if len(changed.Rules) != 1 {
		return fault.RuleStatus{}, fmt.Errorf("%s: answers %d rules where one was set", c.URL, len(changed.Rules))
	}
	return changed.Rules[0], nil
}

// Apply replaces all rules that the admin port has set.
func (c FaultClient) Apply(ctx context.Context, document fault.Document) ([]fault.RuleStatus, error) {
	body, err := document.JSON()
	if err != nil {
		return nil, err
	}
	var changed faultadmin.Changed
	return changed.Rules, c.call(ctx, http.MethodPut, "/faults", json.RawMessage(body), &changed)
}

// Clear takes all rules away that the admin port has set.
func (c FaultClient) Clear(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/faults", nil, nil)
}

// Remove takes one of them away.
func (c FaultClient) Remove(ctx context.Context, id string) error {
	if strings.Trim(id, ".") == "" { // what would be another path
		return fmt.Errorf("%q is no name of a rule", id)
	}
	return c.call(ctx, http.MethodDelete, "/faults/rules/"+url.PathEscape(id), nil, nil)
}

// Kill throws the kill switch of the admin port, or releases it.
func (c FaultClient) Kill(ctx context.Context, thrown bool) error {
	method := http.MethodDelete
	if thrown {
		method = http.MethodPut
	}
	return c.call(ctx, method, "/faults/kill", nil, nil)
}

func (c FaultClient) call(ctx context.Context, method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(ctx, faultClientTimeout)
	defer cancel()
	base := strings.TrimSuffix(c.URL, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, sent)
	if err != nil {
		return err
	}
	if c.TokenFile != "" {
		if r.URL.Scheme != "https" && !c.PlaintextToken && !loopback.Host(r.URL.Hostname()) {
			return fmt.Errorf("the token would go to %s over %s, for whoever is on the way to read; %w", r.URL.Hostname(), r.URL.Scheme, ErrPlaintextToken)
		}
		token, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	transport, err := c.transport()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	// Whoever redirects is no admin port; and the token is for the host that was named.
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%w; is dougong running, and is this its admin port?", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		p, err := problem.Read(answer, faultAnswerBytes)
		if answer.StatusCode == http.StatusNotFound && (err != nil || p.Code == "not_found") {
			return fmt.Errorf("%s has no /faults: it is no admin port of dougong, or faults.enabled is false there", c.URL)
		}
		if err != nil {
			return err
		}
		return p
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, faultAnswerBytes)).Decode(into); err != nil {
		return fmt.Errorf("%s: the answer is no document of faults: %w", c.URL, err)
	}
	return nil
}

func (c FaultClient) transport() (*http.Transport, error) {
	t := &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New(c.CAFile + ": has no certificate")
		}
	}
	return t, nil
}
