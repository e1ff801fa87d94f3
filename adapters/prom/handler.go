package prom

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

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
func (r *Registry) Handler() http.Handler {
	gather := promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{
		Registry:          r.reg,
		EnableOpenMetrics: true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case r.slots <- struct{}{}:
		case <-req.Context().Done():
			problem.Write(w, &problem.Problem{
				Status:     http.StatusServiceUnavailable,
				Code:       "scrapes_full",
				Detail:     fmt.Sprintf("%d other scrapes are being gathered", maxGathers),
				RetryAfter: 5 * time.Second,
			})
			return
		}
		page := page{header: w.Header(), status: http.StatusOK}
		func() {
			defer func() { <-r.slots }()
			gather.ServeHTTP(&page, req)
		}()
		w.Header().Set("Content-Length", strconv.Itoa(page.body.Len()))
		w.WriteHeader(page.status)
		_, _ = page.body.WriteTo(w) // a scraper that left comes again
	})
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
