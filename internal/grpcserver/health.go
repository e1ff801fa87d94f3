package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthEvery is how soon a client that watches is told.
const healthEvery = 200 * time.Millisecond

// health answers the standard health service. Like readiness over HTTP it asks each time, and keeps nothing.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	draining func() bool
	services map[string]func() bool // by full name; "": the whole server; not changed once calls come
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
	t := time.NewTicker(healthEvery)
	defer t.Stop()
	told := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		if now, _ := h.of(r.GetService()); now != told {
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			told = now
		}
		select {
		case <-t.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
