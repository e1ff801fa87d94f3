package load

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/dougong-io/dougong/kit/loopback"
)

// Orders in which rows are taken.
const (
	RowsSequential = "sequential"
	RowsRandom     = "random"
	RowsOnce       = "once"
)

// ErrPlan is wrapped by every error that says that a plan cannot be carried out: nothing was sent.
var ErrPlan = errors.New("the plan cannot be carried out")

// Validate reports every fault of p that can be seen without reading files or talking to the target.
func (p *Plan) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
	}
	if err := p.validateTarget(); err != nil {
		fault("target", "%w", err)
	}
	switch {
	case p.Open != nil && p.Closed != nil:
		fault("open", "a run is open or closed, not both")
	case p.Search != nil && (p.Open != nil || p.Closed != nil):
		fault("search", "a search sets its own rates; leave out open and closed")
	case p.Open != nil:
		if err := p.Open.Validate(); err != nil {
			fault("open", "%w", err)
		}
	case p.Closed != nil:
		if p.Closed.Users < 1 || p.Closed.Users > p.Connections*max(p.Streams, 1) {
			fault("closed", "users: %d is not between 1 and connections × streams, %d", p.Closed.Users, p.Connections*max(p.Streams, 1))
		}
		if p.Closed.Duration <= 0 || time.Duration(p.Closed.Duration) > MaxLength {
			fault("closed", "duration: %s is not between 0 and %s", p.Closed.Duration, MaxLength)
		}
		if p.Closed.Think < 0 {
			fault("closed", "think: %s is below 0", p.Closed.Think)
		}
	case p.Search == nil:
		fault("open", "there is no schedule, no closed loop and no search, so nothing would be sent")
	}
	if p.Connections < 1 || p.Connections > MaxConnections {
		fault("connections", "%d is not between 1 and %d", p.Connections, MaxConnections)
	}
	if p.Streams < 1 || p.Streams > MaxStreams {
		fault("streams", "%d is not between 1 and %d", p.Streams, MaxStreams)
	} else if proto := p.protocol(); p.Streams > 1 && proto != HTTP2 && proto != GRPC {
		fault("streams", "%s carries one request at a time on each connection", proto)
	}
	if p.Connections*p.Streams > MaxConnections*10 {
		fault("streams", "connections × streams is %d; at most %d", p.Connections*p.Streams, MaxConnections*10)
	}
	if p.Timeout <= 0 || time.Duration(p.Timeout) > MaxTimeout {
		fault("timeout", "%s is not between 0 and %s", p.Timeout, MaxTimeout)
	}
	if p.Drain < 0 || time.Duration(p.Drain) > MaxTimeout {
		fault("drain", "%s is not between 0 and %s", p.Drain, MaxTimeout)
	}
	if p.MaxBody < 1 || p.MaxBody > 1<<40 {
		fault("max_body", "%d is not between 1 and 1 TiB", p.MaxBody)
	}
	if p.LateAfter <= 0 {
		fault("late_after", "%s is not above 0", p.LateAfter)
	}
	if !(p.MaxLate >= 0 && p.MaxLate <= 1) {
		fault("max_late", "%v is not between 0 and 1", p.MaxLate)
	}
	if p.MaxIntervals < 2 || p.MaxIntervals > 100_000 {
		fault("max_intervals", "%d is not between 2 and 100000", p.MaxIntervals)
	}
	switch p.Rows.Order {
	case "", RowsSequential, RowsRandom, RowsOnce:
	default:
		fault("rows", "order: %q is none of sequential, random, once", p.Rows.Order)
	}
	p.validateScenarios(fault)
	for _, text := range p.SLO {
		slo, err := ParseSLO(text)
		if err != nil {
			fault("slo", "%w", err)
		} else if err := slo.possible(p); err != nil {
			fault("slo", "%w", err)
		}
	}
	if s := p.Search; s != nil {
		if !(s.From > 0 && s.From < s.To && s.To <= MaxRate) {
			fault("search", "from %v to %v: has to be 0 < from < to ≤ %d requests a second", s.From, s.To, MaxRate)
		}
		if !(s.Precision >= 0.005 && s.Precision <= 1) {
			fault("search", "precision: %v is not between 0.005 and 1", s.Precision)
		}
		if s.Trial < Duration(time.Second) || s.Budget < 2*s.Trial || time.Duration(s.Budget) > MaxLength {
			fault("search", "trial %s and budget %s: a trial takes at least a second, the budget holds at least two and is at most %s", s.Trial, s.Budget, MaxLength)
		}
		if len(p.SLO) == 0 {
			fault("slo", "a search needs at least one objective to look for, such as p99<50ms")
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", ErrPlan, err)
	}
	return nil
}

func (p *Plan) validateScenarios(fault func(field, format string, args ...any)) {
	if len(p.Scenarios) > 1000 {
		fault("scenarios", "there are %d; at most 1000", len(p.Scenarios))
	}
	proto := p.protocol()
	for i, s := range p.Scenarios {
		at := fmt.Sprintf("scenarios[%d]", i)
		if !(s.Weight >= 0) || math.IsInf(s.Weight, 0) {
			fault(at, "weight: %v is no share", s.Weight)
		}
		if len(s.Steps) == 0 || len(s.Steps) > 1000 {
			fault(at, "it has %d steps; between 1 and 1000", len(s.Steps))
		}
		for k, step := range s.Steps {
			at := fmt.Sprintf("scenarios[%d].steps[%d]", i, k)
			if step.Think < 0 || time.Duration(step.Think) > MaxTimeout {
				fault(at, "think: %s is not between 0 and %s", step.Think, MaxTimeout)
			}
			if step.Body != "" && step.File != "" {
				fault(at, "body and file: one of them")
			}
			if step.Expect < 0 || step.Expect > 1_000_000 {
				fault(at, "expect: %d is not between 0 and 1000000", step.Expect)
			}
			if step.Binary && proto != WebSocket || step.Expect > 0 && proto != WebSocket && proto != GRPC {
				fault(at, "binary is for ws, expect for ws and streams of grpc")
			}
			if proto == WebSocket && (step.Path != "" || step.Method != "") {
				fault(at, "path and method: a WebSocket has the path of the target, and no method")
			}
			if proto == GRPC && step.Path != "" {
				fault(at, "path: gRPC has none; the method says what is called")
			}
			if proto == GRPC && step.Method == "" {
				fault(at, "method: gRPC needs one, such as package.Service/Method")
			}
		}
	}
}

var schemes = map[string]Protocol{"http": HTTP1, "https": HTTP1, "h2": HTTP2, "h2c": HTTP2, "grpc": GRPC, "grpcs": GRPC, "ws": WebSocket, "wss": WebSocket}

// protocol is the one that p names, or that its target's scheme implies.
func (p *Plan) protocol() Protocol {
	if p.Protocol != "" {
		return p.Protocol
	}
	scheme, _, _ := strings.Cut(p.Target, "://")
	return schemes[strings.ToLower(scheme)]
}

// secure tells whether the target is spoken to over TLS.
func secure(u *url.URL) bool {
	switch u.Scheme {
	case "https", "wss", "grpcs", "h2":
		return true
	}
	return false
}

func (p *Plan) validateTarget() error {
	u, err := parseTarget(p.Target)
	if err != nil {
		return err
	}
	natural := schemes[u.Scheme]
	switch proto := p.protocol(); proto {
	case natural:
	case HTTP2:
		if natural != HTTP1 {
			return fmt.Errorf("%s:// does not go with protocol http2", u.Scheme)
		}
	case HTTP1, GRPC, WebSocket:
		if natural == GRPC || natural == WebSocket || proto != GRPC && proto != WebSocket || u.Scheme == "h2" || u.Scheme == "h2c" {
			return fmt.Errorf("%s:// does not go with protocol %s", u.Scheme, proto)
		}
	default:
		return fmt.Errorf("protocol %q is none of http1, http2, grpc, ws", proto)
	}
	host := u.Hostname()
	if !loopback.Host(host) && !strings.EqualFold(p.AllowRemote, host) {
		if p.AllowRemote != "" {
			return fmt.Errorf("allow_remote names %q, the target is %q: load goes to the host that you confirm, and to no other", p.AllowRemote, host)
		}
		return fmt.Errorf("%q is not loopback: load goes to another machine only when allow_remote names its host", host)
	}
	return nil
}

func parseTarget(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("no URL: %w", err)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if _, ok := schemes[u.Scheme]; !ok || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no URL with scheme http, https, h2, h2c, grpc, grpcs, ws or wss and a host", target)
	}
	if u.User != nil {
		return nil, errors.New("a password does not belong into a URL; give an Authorization header")
	}
	if u.Port() == "" {
		port := "80"
		if secure(u) {
			port = "443"
		}
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}
