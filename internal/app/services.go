package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/services/inference"
	"google.golang.org/grpc"
)

// service is what the house asks of a service.
type service interface {
	Run(ctx context.Context) error
	Lifecycle() *lifecycle.Machine
	Register(handle func(pattern, role string, handler http.Handler))
	Invariants(report func(name string, err error))
}

// built is a service with what only its builder knows of it.
type built struct {
	service
	status  func() any               // for /statusz
	welcome func(url string) welcome // for people, once it is ready
	opened  <-chan struct{}          // closed when it takes requests, whatever its state; nil: when its state says so

	registerGRPC func(handle func(desc *grpc.ServiceDesc, impl any, roles map[string]string)) // nil: it has no gRPC

	breakerPolicy    breaker.Policy             // as configured
	setBreakerPolicy func(breaker.Policy) error // nil: it has no breaker
}

// welcome is what a service says of itself at start-up.
type welcome struct {
	serves []string // a line each: address, then what is there
	try    []string // commands
}

// builders lists the services that there are, in the order in which they start.
var builders = []struct {
	name  string
	build func(a *App) (built, error)
}{
	{"inference", buildInference},
}

// Services names the services that there are, in the order in which they start.
func Services() []string {
	names := make([]string, len(builders))
	for i, b := range builders {
		names[i] = b.name
	}
	return names
}

func buildInference(a *App) (built, error) {
	repo, err := modelRepository(a.cfg.Inference.Repository)
	if err != nil {
		return built{}, fmt.Errorf("inference.repository: %w", err)
	}
	s, err := inference.New(a.cfg.Inference, inference.Deps{
		Models:          repo,
		Decode:          decodeYAML,
		Observer:        newInferenceMetrics(a.metrics),
		LimitObserver:   a.limits.Observer("inference"),
		BreakerObserver: breakerObservers{a.breakers.Observer("inference"), breakerLog{a.log.With("service", "inference")}},
		StateObserver:   a.states,
		Tenant:          tenantOf,
		Ready:           a.ready,
		Version:         number(),
		Program:         workerProgram,
		StartWithin:     a.cfg.Lifecycle.StartTimeout * 3 / 4,
		Workers:         newWorkerMetrics(a.metrics).Observer,
		Trace:           traceOf,
		Faults:          a.faults,
		Log:             newServiceLogger(a.sink, a.sink.minor(), a.cfg.Log).With("service", "inference"),
	})
	if err != nil {
		return built{}, err
	}
	a.limits.Watch("inference", s.Limit())
	a.breakers.Watch("inference", s.Breaker)
	return built{
		service: s,
		status:  func() any { return s.Status() },
		welcome: func(url string) welcome { return welcomeInference(s, url) },
		opened:  s.Opened(),

		registerGRPC: s.RegisterGRPC,

		breakerPolicy:    a.cfg.Inference.Breaker,
		setBreakerPolicy: s.SetBreakerPolicy,
	}, nil
}

// workerProgram finds a worker: a path as it is, a name beside our own program or else in PATH.
func workerProgram(name string) (string, error) {
	beside := ""
	if !strings.ContainsRune(name, filepath.Separator) {
		if own, err := os.Executable(); err == nil {
			beside = filepath.Dir(own)
			if path, err := exec.LookPath(filepath.Join(beside, name)); err == nil {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound) && beside != "":
		return "", fmt.Errorf("it is neither in %s, beside this program, nor in PATH", beside)
	case err != nil:
		return "", err
	}
	return filepath.Abs(path)
}

// traceOf is the trace of a request, by whichever protocol it came.
func traceOf(ctx context.Context) (trace [16]byte, span [8]byte, flags byte) {
	t := httpserver.TraceFrom(ctx)
	return t.TraceID, t.SpanID, t.Flags
}

// tenantOf is the tenant of the caller's token, or else the address that it calls from: of IPv6 the /64, which one
// customer has whole.
func tenantOf(ctx context.Context, remote string) string {
	if who := auth.IdentityFrom(ctx); who != nil && who.Tenant != "" {
		return who.Tenant
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if !strings.Contains(host, ":") {
		return host
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() && !addr.Is4In6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return host
}

// modelRepository opens what inference.repository names.
func modelRepository(name string) (fs.FS, error) {
	if name == inference.DemoRepository {
		return models.Repository, nil
	}
	// A Root keeps links in the folder from leading out of it.
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("%w (the embedded demo is %q)", err, inference.DemoRepository)
	}
	return root.FS(), nil
}

func welcomeInference(s *inference.Service, url string) welcome {
	w := welcome{serves: []string{url + "/v1/predict  models:", url + "/v2  the Open Inference Protocol"}}
	hasMini := false
	for _, m := range s.Status().Models {
		w.serves[0] += " " + m.Name
		hasMini = hasMini || m.Name == "loan-mini"
	}
	if hasMini {
		w.try = append(w.try, fmt.Sprintf(`curl %s/v1/predict -d '{"model":"loan-mini","input":[0.1,0.9]}'`, url))
	}
	w.try = append(w.try, "curl "+url+"/v1/models")
	return w
}
