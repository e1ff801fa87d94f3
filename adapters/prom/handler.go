package prom

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxGathers bounds the scrapes that are put together at the same time. Those
// that are being sent do not count.
const maxGathers = 4

// Handler answers scrapes, in OpenMetrics for those who ask for it. A scrape
// is gathered and encoded in memory first and sent then, so that a scraper that
// reads slowly holds up nobody else. Its page, as large as one scrape, stays in
// memory until it has read it or the server's write timeout ends it: what bounds
// the memory is how many connections the server accepts. When maxGathers are at
// work, others wait until their context ends, which is the problem scrapes_full.
func (r *Registry) Handler(opts ...HandlerOption) http.Handler {
	h := &handler{slots: r.slots, gather: promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{
		Registry:          r.reg,
		EnableOpenMetrics: true,
	})}
	for _, opt := range opts {
		opt(h)
	}
	return h
}

type handler struct {
	slots  chan struct{}
	gather http.Handler
	point  *fault.Point
}

func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	select {
	case h.slots <- struct{}{}:
	case <-req.Context().Done():
		problem.Write(w, &problem.Problem{
			Status:     http.StatusServiceUnavailable,
			Code:       "scrapes_full",
			Detail:     fmt.Sprintf("%d other scrapes are being gathered", maxGathers),
			RetryAfter: 5 * time.Second,
		})
		return
	}
	page, err := h.put(w.Header(), req)
	if err != nil {
		problem.Write(w, problemOf(err))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(page.body.Len()))
	w.WriteHeader(page.status)
	_, _ = page.body.WriteTo(w) // a scraper that left comes again
}

// put puts a scrape together, and gives its place back.
func (h *handler) put(header http.Header, req *http.Request) (*page, error) {
	defer func() { <-h.slots }()
	var damage fault.Damage
	if h.point.On() {
		var err error
		if damage, err = h.point.Damage(req.Context()); err != nil {
			return nil, err
		}
	}
	p := &page{header: header, status: http.StatusOK}
	h.gather.ServeHTTP(p, req)
	if damage.Any() {
		p.body.Truncate(len(damage.Apply(p.body.Bytes(), 0)))
	}
	return p, nil
}

// problemOf is the answer to a scrape that rules had fail, or held until its scraper left.
func problemOf(err error) *problem.Problem {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return &problem.Problem{Status: http.StatusServiceUnavailable, Code: "canceled", Detail: "the scrape ended while it waited"}
	}
	p := &problem.Problem{Status: e.HTTPStatus, Code: "injected_fault", Detail: e.Error(), RetryAfter: e.RetryAfter}
	if p.Status == 0 {
		p.Status = http.StatusInternalServerError
	}
	return p
}

// page is an answer in memory.
type page struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) WriteHeader(status int)      { p.status = status }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
