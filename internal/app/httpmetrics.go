package app

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/prometheus/client_golang/prometheus"
)

// httpMetrics are the metrics of the public listener. They implement
// httpserver.Observer.
type httpMetrics struct {
	reg      *prom.Registry
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	in, out  *prometheus.CounterVec
	panics   *prometheus.CounterVec
	dropped  prometheus.Counter
	refused  prometheus.Counter
}

var _ httpserver.Observer = (*httpMetrics)(nil)

// newHTTPMetrics declares them, once in a registry.
func newHTTPMetrics(r *prom.Registry) *httpMetrics {
	route := []string{"route"}
	return &httpMetrics{
		reg:      r,
		duration: r.HistogramVec(prom.Opts{Name: "http_request_duration_seconds", Unit: "seconds", Help: "Time from a request's header to the end of its handler.", Labels: []string{"route", "method", "code"}}),
		inFlight: r.GaugeVec(prom.Opts{Name: "dougong_http_inflight_requests", Unit: "requests", Help: "Requests whose handler has not ended.", Labels: route}),
		in:       r.CounterVec(prom.Opts{Name: "dougong_http_received_bytes_total", Unit: "bytes", Help: "Bytes of request bodies, as read by handlers.", Labels: route}),
		out:      r.CounterVec(prom.Opts{Name: "dougong_http_sent_bytes_total", Unit: "bytes", Help: "Bytes of response bodies, before TLS.", Labels: route}),
		panics:   r.CounterVec(prom.Opts{Name: "dougong_http_panics_total", Help: "Handlers that panicked.", Labels: route}),
		dropped:  r.Counter(prom.Opts{Name: "dougong_http_dropped_log_lines_total", Help: "Access lines that were not written because the sink did not keep up."}),
		refused:  r.Counter(prom.Opts{Name: "dougong_http_refused_connections_total", Help: "Connections above max_connections."}),
	}
}

// watch reports how many connections the server has.
func (m *httpMetrics) watch(s *httpserver.Server) {
	m.reg.GaugeFunc(prom.Opts{Name: "dougong_http_open_connections", Unit: "connections", Help: "Connections, without upgraded ones."}, func() float64 { return float64(s.Connections()) })
}

func (m *httpMetrics) LogLinesDropped(n int) { m.dropped.Add(float64(n)) }
func (m *httpMetrics) ConnectionRefused()    { m.refused.Inc() }

// adminMetrics observe the admin listener: its requests are no clients' and are not measured, but what goes wrong
// there counts.
type adminMetrics struct{ *httpMetrics }

func (m adminMetrics) Route(pattern string) httpserver.RouteObserver {
	return adminRoute{m.panics.WithLabelValues("admin " + pattern)}
}

type adminRoute struct{ panics prometheus.Counter }

func (adminRoute) Begin()                 {}
func (adminRoute) End(httpserver.Outcome) {}
func (r adminRoute) Panic()               { r.panics.Inc() }

func (m *httpMetrics) Route(pattern string) httpserver.RouteObserver {
	labels := prometheus.Labels{"route": pattern}
	return &httpRouteObserver{
		duration: m.duration.MustCurryWith(labels),
		inFlight: m.inFlight.With(labels),
		in:       m.in.With(labels),
		out:      m.out.With(labels),
		panics:   m.panics.With(labels),
	}
}

// httpRouteObserver finds the histogram of a method and a status by index: no
// label is looked up once it was seen.
type httpRouteObserver struct {
	duration prometheus.ObserverVec
	inFlight prometheus.Gauge
	in, out  prometheus.Counter
	panics   prometheus.Counter
	seen     [methodCount]atomic.Pointer[methodHistograms]
}

const (
	methodCount = 10
	firstStatus = 100
	lastStatus  = 599
)

type methodHistograms [lastStatus - firstStatus + 1]atomic.Pointer[prometheus.Observer]

func (r *httpRouteObserver) Begin() { r.inFlight.Inc() }
func (r *httpRouteObserver) Panic() { r.panics.Inc() }

func (r *httpRouteObserver) End(out httpserver.Outcome) {
	r.inFlight.Dec()
	if out.BytesIn > 0 {
		r.in.Add(float64(out.BytesIn))
	}
	if out.BytesOut > 0 {
		r.out.Add(float64(out.BytesOut))
	}
	r.histogram(out.Method, out.Status).Observe(float64(out.Duration) / float64(time.Second))
}

func (r *httpRouteObserver) histogram(method string, status int) prometheus.Observer {
	if status < firstStatus || status > lastStatus {
		status = lastStatus // no status that net/http would send
	}
	slot := &r.seen[methodIndex(method)]
	histograms := slot.Load()
	if histograms == nil {
		slot.CompareAndSwap(nil, new(methodHistograms))
		histograms = slot.Load()
	}
	if h := histograms[status-firstStatus].Load(); h != nil {
		return *h
	}
	h := r.duration.WithLabelValues(method, strconv.Itoa(status))
	histograms[status-firstStatus].Store(&h)
	return h
}

// methodIndex is below methodCount.
func methodIndex(method string) int {
	switch method {
	case "GET":
		return 0
	case "POST":
		return 1
	case "PUT":
		return 2
	case "DELETE":
		return 3
	case "PATCH":
		return 4
	case "HEAD":
		return 5
	case "OPTIONS":
		return 6
	case "CONNECT":
		return 7
	case "TRACE":
		return 8
	}
	return 9 // httpserver calls all others OTHER
}
