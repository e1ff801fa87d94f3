package inferenceclient

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/loopback"
)

// Config says whom to call and how. Start from [DefaultConfig]; it lacks the URLs.
type Config struct {
	URLs []string `json:"urls" doc:"The servers, 1 to 64, all of one scheme: http://, https://, grpc:// or grpcs://. They must serve the same models. Calls take turns; retries and hedges go to another one."`
	JSON bool     `json:"json" doc:"Over REST, send tensors as JSON and ask for JSON, for servers without the binary tensor extension (MLServer)."`

	Timeout        time.Duration `json:"timeout" doc:"Default and upper bound of a call's deadline, all its attempts included."`
	AttemptTimeout time.Duration `json:"attempt_timeout" doc:"How long one attempt may take before another is made. 0: as long as the call."`

	Attempts    int           `json:"attempts" doc:"Most attempts of a call, retries and a hedge included. 1: no retries."`
	Backoff     time.Duration `json:"backoff" doc:"Bound of the wait before the first retry; it doubles with each. The wait is a random part of it."`
	MaxBackoff  time.Duration `json:"max_backoff" doc:"Most that the bound doubles to."`
	RetryBudget Budget        `json:"retry_budget" doc:"How many retries there may be of all calls together."`

	Hedge Hedge `json:"hedge" doc:"A second attempt beside one that takes long. Off."`

	Breaker breaker.Policy `json:"breaker" doc:"When a server that fails is no longer called, and how it comes back. A circuit a URL. Without conditions none opens."`

	MaxResponseBytes int64         `json:"max_response_bytes" unit:"bytes" doc:"Largest answer."`
	MaxConns         int           `json:"max_conns" doc:"Over REST, most connections to a server; calls wait for one, within their deadline. gRPC has one."`
	IdleTimeout      time.Duration `json:"idle_timeout" doc:"A connection that is not used for so long is closed."`

	TLS            TLSConfig `json:"tls" doc:"For https:// and grpcs://."`
	TokenFile      string    `json:"token_file" doc:"File with a bearer token, read again every 10 s. Empty: none."`
	PlaintextToken bool      `json:"plaintext_token" doc:"Send the token without TLS off loopback too, because something else encrypts (a mesh)."`
}

// Budget bounds extra attempts by a part of all calls, like a bucket of tokens: it begins full, a call puts Ratio into
// it, an extra attempt takes 1 out. So there are never more than Burst + Ratio × calls of them.
type Budget struct {
	Ratio float64 `json:"ratio" doc:"Extra attempts a call, 0 to 1, in the long run."`
	Burst int     `json:"burst" doc:"Extra attempts beyond that at most. 0: none at all."`
}

// Hedge is a second attempt beside one that takes long. The first answer counts, and the other attempt is canceled.
type Hedge struct {
	After    time.Duration `json:"after" doc:"Wait at least so long. With quantile 0, exactly so long; 0 is off then."`
	Quantile float64       `json:"quantile" doc:"Wait as long as this part of the attempts took lately, such as 0.95, once 128 are known (until then: after, if it is above 0). 0: off."`
	Budget   Budget        `json:"budget" doc:"How many hedges there may be of all calls together."`
}

func (h Hedge) on() bool { return h.After > 0 || h.Quantile > 0 }

// TLSConfig are the files of TLS; see also [WithTLS].
type TLSConfig struct {
	CAFile     string `json:"ca_file" doc:"PEM file with the authorities of servers. Empty: those of the system."`
	CertFile   string `json:"cert_file" doc:"PEM file with the client's certificate chain, read for each handshake. Empty: none."`
	KeyFile    string `json:"key_file" doc:"PEM file with its private key."`
	ServerName string `json:"server_name" doc:"Name that the server's certificate must have. Empty: that of the URL."`
}

// DefaultConfig retries twice, a tenth of the calls at most, and does not hedge. It names no server.
func DefaultConfig() Config {
	return Config{
		Timeout:          5 * time.Second,
		Attempts:         3,
		Backoff:          25 * time.Millisecond,
		MaxBackoff:       time.Second,
		RetryBudget:      Budget{Ratio: 0.1, Burst: 10},
		Hedge:            Hedge{Budget: Budget{Ratio: 0.05, Burst: 5}},
		Breaker:          breaker.DefaultPolicy(),
		MaxResponseBytes: 64 << 20,
		MaxConns:         64,
		IdleTimeout:      60 * time.Second,
	}
}

const maxURLs = 64 // a bit each in the set of those that a call has tried

// Validate reports every fault at once, each beginning with the field's path.
func (c Config) Validate() error {
	var errs []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if _, err := parseURLs(c.URLs); err != nil {
		errs = append(errs, err)
	}
	fault(c.Timeout >= time.Millisecond, "timeout: must be at least 1ms, is %v", c.Timeout)
	fault(c.AttemptTimeout >= 0, "attempt_timeout: must not be negative")
	fault(c.Attempts >= 1 && c.Attempts <= 16, "attempts: must be 1 to 16, is %d", c.Attempts)
	fault(c.Backoff >= 0, "backoff: must not be negative")
	fault(c.MaxBackoff >= c.Backoff, "max_backoff: must be at least backoff, %v", c.Backoff)
	for _, b := range []struct {
		name string
		Budget
	}{{"retry_budget", c.RetryBudget}, {"hedge.budget", c.Hedge.Budget}} {
		fault(b.Ratio >= 0 && b.Ratio <= 1, "%s.ratio: must be 0 to 1, is %v", b.name, b.Ratio)
		fault(b.Burst >= 0 && b.Burst <= 1<<20, "%s.burst: must be 0 to %d, is %d", b.name, 1<<20, b.Burst)
	}
	fault(c.Hedge.After >= 0, "hedge.after: must not be negative")
	fault(c.Hedge.Quantile >= 0 && c.Hedge.Quantile < 1, "hedge.quantile: must be 0 or more and below 1, is %v", c.Hedge.Quantile)
	fault(!c.Hedge.on() || c.Attempts != 1, "hedge: is an attempt, too: attempts must be at least 2")
	for _, err := range faultsOf(c.Breaker.Validate()) {
		errs = append(errs, fmt.Errorf("breaker.%w", err))
	}
	fault(c.MaxResponseBytes >= 1<<10 && c.MaxResponseBytes <= 1<<30, "max_response_bytes: must be 1 KiB to 1 GiB")
	fault(c.MaxConns >= 1, "max_conns: must be at least 1")
	fault(c.IdleTimeout >= time.Second, "idle_timeout: must be at least 1s")
	fault((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "tls: cert_file and key_file belong together")
	fault(c.TokenFile == "" || c.mayCarryToken(), "token_file: a token needs https://, grpcs:// or a loopback address; say plaintext_token if something else encrypts")
	return errors.Join(errs...)
}

// faultsOf takes what a Validate reports apart.
func faultsOf(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// mayCarryToken tells whether nobody between here and the servers could read a token.
func (c Config) mayCarryToken() bool {
	if c.PlaintextToken {
		return true
	}
	servers, err := parseURLs(c.URLs)
	return err != nil || !slices.ContainsFunc(servers, func(u *url.URL) bool { // faults of URLs are reported elsewhere
		return !encrypted(u) && !loopback.Host(u.Hostname())
	})
}

func encrypted(u *url.URL) bool { return u.Scheme == "https" || u.Scheme == "grpcs" }

func overGRPC(u *url.URL) bool { return u.Scheme == "grpc" || u.Scheme == "grpcs" }

func parseURLs(texts []string) ([]*url.URL, error) {
	var errs []error
	if len(texts) == 0 || len(texts) > maxURLs {
		errs = append(errs, fmt.Errorf("urls: there must be 1 to %d, are %d", maxURLs, len(texts)))
	}
	var servers []*url.URL
	for i, text := range texts {
		u, err := parseURL(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("urls: %d: %w", i, err))
			continue
		case len(servers) > 0 && servers[0].Scheme != u.Scheme:
			errs = append(errs, fmt.Errorf("urls: %d: all must have one scheme, but it is %s after %s", i, u.Scheme, servers[0].Scheme))
		case slices.Contains(texts[:i], text):
			errs = append(errs, fmt.Errorf("urls: %d: %s is there twice", i, text))
		}
		servers = append(servers, u)
	}
	return servers, errors.Join(errs...)
}

// parseURL repeats in its errors what it was given only where no password and no token can be in it.
func parseURL(text string) (*url.URL, error) {
	shown := " "
	if !strings.ContainsAny(text, "@?#") {
		shown = fmt.Sprintf("%.128q ", text)
	}
	if !strings.Contains(text, "://") {
		return nil, errors.New(strings.TrimSpace(shown + "has no scheme: it must begin with http://, https://, grpc:// or grpcs://"))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil && shown != " ": // which says what it was given
		return nil, fmt.Errorf("is no URL: %w", err)
	case err != nil:
		return nil, errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https" && !overGRPC(u):
		return nil, fmt.Errorf("the scheme must be http, https, grpc or grpcs, is %.32q", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New(strings.TrimSpace(shown + "has no host"))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must have no user, query or fragment; a token comes from token_file or WithToken")
	case overGRPC(u) && u.Port() == "":
		return nil, fmt.Errorf("%.128q has no port, such as :8081", text)
	case overGRPC(u) && u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("%.128q: gRPC has no path", text)
	}
	return u, nil
}
