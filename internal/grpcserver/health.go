package grpcserver

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthEvery is how soon a client that watches is told.
const healthEvery = 200 * time.Millisecond

// maxWatchers bounds the streams of those who watch: they cost memory, and need no token.
const maxWatchers = 1024

// health answers the standard health service. Like readiness over HTTP it asks each time; for those who watch, one
// goroutine asks.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	draining func() bool
	services map[string]func() bool // by full name; "": the whole server; not changed once calls come

	mu       sync.Mutex
	watchers int
	seen     map[string]grpc_health_v1.HealthCheckResponse_ServingStatus
	changed  chan struct{} // closed when seen changes; nil before anyone watched
}

func (h *health) of(service string) (st grpc_health_v1.HealthCheckResponse_ServingStatus, known bool) {
	ready, known := h.services[service]
	switch {
	case !known:
		return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN, false
	case h.draining() || !ready():
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING, true
	}
	return grpc_health_v1.HealthCheckResponse_SERVING, true
}

// Check implements the health service.
func (h *health) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	st, known := h.of(r.GetService())
	if !known {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: st}, nil
}

// List implements the health service.
func (h *health) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	all := make(map[string]*grpc_health_v1.HealthCheckResponse, len(h.services))
	for name := range h.services {
		st, _ := h.of(name)
		all[name] = &grpc_health_v1.HealthCheckResponse{Status: st}
	}
	return &grpc_health_v1.HealthListResponse{Statuses: all}, nil
}

// Watch implements the health service. It ends when the server begins to stop.
func (h *health) Watch(r *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	if !h.join() {
		return status.Errorf(codes.ResourceExhausted, "%d others watch already: ask with Check instead", maxWatchers)
	}
	defer h.leave()
	told := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		now, changed := h.last(r.GetService())
		if now != told {
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			told = now
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// join takes a place among those who watch, and looks for the newcomer.
func (h *health) join() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers >= maxWatchers {
		return false
	}
	h.watchers++
	h.look()
	return true
}

func (h *health) leave() {
	h.mu.Lock()
	h.watchers--
	h.mu.Unlock()
}

// last returns what was seen last of a service, and a channel that is closed once anything is seen to have changed.
func (h *health) last(service string) (grpc_health_v1.HealthCheckResponse_ServingStatus, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, known := h.seen[service]
	if !known {
		st = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
	}
	return st, h.changed
}

// poll looks for all who watch, until stop.
func (h *health) poll(stop <-chan struct{}) {
	t := time.NewTicker(healthEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		h.mu.Lock()
		if h.watchers > 0 {
			h.look()
		}
		h.mu.Unlock()
	}
}

// look is called with the lock held.
func (h *health) look() {
	changed := h.changed == nil
	if changed {
		h.seen = make(map[string]grpc_health_v1.HealthCheckResponse_ServingStatus, len(h.services))
	}
	for name := range h.services {
		if st, _ := h.of(name); st != h.seen[name] {
			h.seen[name], changed = st, true
		}
	}
	if !changed {
		return
	}
	if h.changed != nil {
		close(h.changed)
	}
	h.changed = make(chan struct{})
}
