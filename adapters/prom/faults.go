package prom

import "github.com/dougong-io/dougong/kit/fault"

var pointScrape = fault.Def{
	Name: "prom.scrape", Doc: "The metrics are gathered for a scrape; what is cut or damaged is the page.",
	Effects: fault.Fail | fault.Mangle,
}

// HandlerOption injects a collaborator into a handler of scrapes.
type HandlerOption func(*handler)

// WithFaults gives scrapes the fault point prom.scrape: one that hangs takes one of the few places until its scraper
// gives up, as a collector that hangs would; one that fails is answered with the code "injected_fault".
func WithFaults(s *fault.Set) HandlerOption {
	return func(h *handler) { h.point = s.Point(pointScrape) }
}
