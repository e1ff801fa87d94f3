//go:build linux

package soak

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// bounds are what a process under load must stay below.
type bounds struct{ threads, goroutines int }

// boundsFor says how much a process may need for so many connections, of which it had so many goroutines without any.
//
// Threads: Go runs goroutines on GOMAXPROCS threads, and needs further ones for those in system calls that block. The
// sockets do not block, so there are few of these whatever the load: 16, and 4 a processor, is about twice
// what is seen, and a small part of the connections. A process that takes a thread a request breaks it at once.
//
// Goroutines: net/http has one a connection and a second one while a request is handled, which notices that the
// caller went away. A scrape starts a few, for a moment: 64 for all of them.
func boundsFor(connections, before, processors int) bounds {
	return bounds{threads: 16 + 4*processors, goroutines: before + 2*connections + 64}
}

// watched is what was seen of a process under load: the highest of each.
type watched struct {
	threads, goroutines int
	rss                 int64
	slowest             time.Duration // answer to a probe
	probes              int
	faults              []string
}

// watch looks at the process once a second until stop is called: at its threads, and as probes and scrapers do at its
// health and its metrics.
func (p *process) watch(b bounds) (stop func() watched) {
	ctx, cancel := context.WithCancel(p.ctx)
	var w watched
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			p.glance(&w, b)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() watched {
		p.t.Helper()
		cancel()
		<-done
		p.alive()
		for _, fault := range w.faults {
			p.t.Error(fault)
		}
		return w
	}
}

func (p *process) glance(w *watched, b bounds) {
	fault := func(format string, args ...any) {
		if len(w.faults) < 10 {
			w.faults = append(w.faults, fmt.Sprintf(format, args...))
		}
	}
	st, err := p.status()
	if err != nil {
		fault("%v", err)
	}
	var scraped string
	for _, url := range []string{p.admin + "/metrics", p.admin + "/healthz", p.http + "/healthz"} {
		start := time.Now()
		body, err := p.probe(url)
		if p.ctx.Err() != nil {
			return // that it has ended is told once
		}
		if err != nil {
			fault("no answer within %v: %v", probeWithin, err)
		}
		w.probes++
		w.slowest = max(w.slowest, time.Since(start))
		if strings.HasSuffix(url, "/metrics") {
			scraped = body
		}
	}
	goroutines := int(parseMetrics(scraped)["go_goroutines"])
	if st.threads > b.threads {
		fault("%d threads, at most %d are expected", st.threads, b.threads)
	}
	if goroutines > b.goroutines {
		fault("%d goroutines, at most %d are expected", goroutines, b.goroutines)
	}
	w.threads, w.goroutines, w.rss = max(w.threads, st.threads), max(w.goroutines, goroutines), max(w.rss, st.rss)
}

// status is what the system says about a process.
type status struct {
	threads   int
	rss, anon int64 // bytes
}

func (p *process) status() (s status, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSuffix(strings.TrimSpace(value), " kB")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "Threads":
			s.threads = int(n)
		case "VmRSS":
			s.rss = n << 10
		case "RssAnon":
			s.anon = n << 10
		}
	}
	if s.threads == 0 || s.rss == 0 {
		return s, fmt.Errorf("/proc/%d/status tells nothing: the process has ended", p.cmd.Process.Pid)
	}
	return s, nil
}
