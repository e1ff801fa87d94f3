package app

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/internal/grpcserver"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// grpcMetrics are the metrics of the gRPC listener. They implement grpcserver.Observer.
type grpcMetrics struct {
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	in, out  *prometheus.CounterVec
	panics   *prometheus.CounterVec
	dropped  prometheus.Counter
}

var _ grpcserver.Observer = (*grpcMetrics)(nil)

func newGRPCMetrics(r *prom.Registry) *grpcMetrics {
	method := []string{"grpc_service", "grpc_method"}
	return &grpcMetrics{
		duration: r.HistogramVec(prom.Opts{Name: "grpc_server_handling_seconds", Unit: "seconds", Help: "Time from a call's header to the end of its handler.", Labels: append(method, "grpc_code")}),
		inFlight: r.GaugeVec(prom.Opts{Name: "dougong_grpc_inflight_calls", Unit: "calls", Help: "Calls whose handler has not ended.", Labels: method}),
		in:       r.CounterVec(prom.Opts{Name: "dougong_grpc_received_bytes_total", Unit: "bytes", Help: "Bytes of messages that handlers read, decompressed.", Labels: method}),
		out:      r.CounterVec(prom.Opts{Name: "dougong_grpc_sent_bytes_total", Unit: "bytes", Help: "Bytes of messages that were sent, before compression.", Labels: method}),
		panics:   r.CounterVec(prom.Opts{Name: "dougong_grpc_panics_total", Help: "Handlers that panicked.", Labels: method}),
		dropped:  r.Counter(prom.Opts{Name: "dougong_grpc_dropped_log_lines_total", Help: "Access lines that were not written because the sink did not keep up."}),
	}
}

func (m *grpcMetrics) LogLinesDropped(n int) { m.dropped.Add(float64(n)) }

func (m *grpcMetrics) Method(name string) grpcserver.MethodObserver {
	service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok {
		method = service // what there is not: one line for all
	}
	labels := prometheus.Labels{"grpc_service": service, "grpc_method": method}
	return &grpcMethodObserver{
		duration: m.duration.MustCurryWith(labels),
		inFlight: m.inFlight.With(labels),
		in:       m.in.With(labels),
		out:      m.out.With(labels),
		panics:   m.panics.With(labels),
	}
}

// grpcMethodObserver finds the histogram of a code by index: no label is looked up once it was seen.
type grpcMethodObserver struct {
	duration prometheus.ObserverVec
	inFlight prometheus.Gauge
	in, out  prometheus.Counter
	panics   prometheus.Counter
	seen     [codes.Unauthenticated + 1]atomic.Pointer[prometheus.Observer]
}

func (o *grpcMethodObserver) Begin() { o.inFlight.Inc() }
func (o *grpcMethodObserver) Panic() { o.panics.Inc() }

func (o *grpcMethodObserver) End(out grpcserver.Outcome) {
	o.inFlight.Dec()
	o.in.Add(float64(out.BytesIn))
	o.out.Add(float64(out.BytesOut))
	o.histogram(out.Code).Observe(float64(out.Duration) / float64(time.Second))
}

func (o *grpcMethodObserver) histogram(code codes.Code) prometheus.Observer {
	if int(code) >= len(o.seen) {
		code = codes.Unknown // no code that gRPC has
	}
	slot := &o.seen[code]
	if h := slot.Load(); h != nil {
		return *h
	}
	h := o.duration.WithLabelValues(code.String())
	slot.Store(&h)
	return h
}
