package inferenceclient

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// grpcWire has one connection to one server.
type grpcWire struct {
	conn   *grpc.ClientConn
	client inferencepb.GRPCInferenceServiceClient
}

// pingAfter is the least silence, while a call waits, after which the connection is tried: servers send clients away that ping
// more often than they like. No call lasts as long as that unless the connection is gone, so they see no such pings.
const pingAfter = 20 * time.Second

func newGRPCWire(u *url.URL, cfg *Config, p *parts) (*grpcWire, error) {
	creds := insecure.NewCredentials()
	if encrypted(u) {
		creds = credentials.NewTLS(p.tls.Clone())
	}
	target := "dns:///" + u.Host
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithUserAgent(userAgent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(int(cfg.MaxResponseBytes))),
		grpc.WithIdleTimeout(cfg.IdleTimeout),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: max(pingAfter, cfg.Timeout), Timeout: 10 * time.Second}),
		grpc.WithMaxHeaderListSize(64 << 10),
		// A server that is back is found within seconds, and retries are ours alone: they have a budget.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: cfg.Timeout,
		}),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
	}
	if p.dial != nil {
		target = "passthrough:///" + u.Host
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return p.dial(ctx, "tcp", addr) }))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, err
	}
	return &grpcWire{conn, inferencepb.NewGRPCInferenceServiceClient(conn)}, nil
}

func (w *grpcWire) close() error { return w.conn.Close() }

// context adds what goes with a call. gRPC sends the deadline itself.
func (h *head) context(ctx context.Context) context.Context {
	pairs := append(make([]string, 0, 4+len(h.others)), "x-request-id", h.id)
	if h.token != "" {
		pairs = append(pairs, "authorization", "Bearer "+h.token)
	}
	return metadata.AppendToOutgoingContext(ctx, append(pairs, h.others...)...)
}

func (w *grpcWire) infer(ctx context.Context, h *head, m *message) (*Response, *Error) {
	var trailer metadata.MD
	p, err := w.client.ModelInfer(h.context(ctx), m.proto, grpc.Trailer(&trailer))
	if err != nil {
		return nil, failureOf(ctx, err, trailer)
	}
	r, err := parseProto(p)
	switch {
	case err != nil:
		return nil, malformed("%w", err)
	case r.ID != m.id && m.id != "" && r.ID != "":
		return nil, malformed("the id is %.64q, and %.64q was asked", r.ID, m.id)
	}
	r.Queue, r.Compute = parseTiming(strings.Join(trailer["server-timing"], ","))
	return r, nil
}

// unary makes a call of which the answer is all that matters.
func unary[Q, A any](ctx context.Context, h *head, request Q, call func(context.Context, Q, ...grpc.CallOption) (A, error)) (A, *Error) {
	var trailer metadata.MD
	a, err := call(h.context(ctx), request, grpc.Trailer(&trailer))
	if err != nil {
		return a, failureOf(ctx, err, trailer)
	}
	return a, nil
}

// notReady makes of a server that answers that it takes no calls one that is not ready, as over REST.
func notReady(yes bool, failed *Error) (bool, *Error) {
	if failed != nil && failed.Kind == ErrOverloaded {
		return false, nil
	}
	return yes, failed
}

func (w *grpcWire) live(ctx context.Context, h *head) (bool, *Error) {
	a, failed := unary(ctx, h, &inferencepb.ServerLiveRequest{}, w.client.ServerLive)
	return notReady(a.GetLive(), failed)
}

func (w *grpcWire) ready(ctx context.Context, h *head) (bool, *Error) {
	a, failed := unary(ctx, h, &inferencepb.ServerReadyRequest{}, w.client.ServerReady)
	return notReady(a.GetReady(), failed)
}

func (w *grpcWire) modelReady(ctx context.Context, h *head, model, version string) (bool, *Error) {
	a, failed := unary(ctx, h, &inferencepb.ModelReadyRequest{Name: model, Version: version}, w.client.ModelReady)
	return notReady(a.GetReady(), failed)
}

func (w *grpcWire) metadata(ctx context.Context, h *head) (*ServerMetadata, *Error) {
	a, failed := unary(ctx, h, &inferencepb.ServerMetadataRequest{}, w.client.ServerMetadata)
	return &ServerMetadata{Name: a.GetName(), Version: a.GetVersion(), Extensions: a.GetExtensions()}, failed
}

func (w *grpcWire) modelMetadata(ctx context.Context, h *head, model, version string) (*ModelMetadata, *Error) {
	a, failed := unary(ctx, h, &inferencepb.ModelMetadataRequest{Name: model, Version: version}, w.client.ModelMetadata)
	return &ModelMetadata{
		Name: a.GetName(), Versions: a.GetVersions(), Platform: a.GetPlatform(), Properties: a.GetProperties(),
		Inputs: tensorsOf(a.GetInputs()), Outputs: tensorsOf(a.GetOutputs()),
	}, failed
}
