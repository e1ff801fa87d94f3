//go:build linux

package soak

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// visit is a little longer than the server waits for a slow reader.
const visit = 65 * time.Second

// slowScrapers asks for metrics on so many connections and reads a byte a second of what comes, until stop is called. Each
// asks so often that the answers fill what the system keeps for it: the server has to wait in the middle of one, for
// as long as it is willing to. Then the scraper comes again.
func (p *process) slowScrapers(n int) (stop func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	var bytes, again atomic.Int64
	for range n {
		wg.Go(func() {
			for first := true; ctx.Err() == nil; first = false {
				if !first {
					again.Add(1)
				}
				p.scrapeSlowly(ctx, &bytes)
			}
		})
	}
	p.eventually("scrapers that are waited for", func() bool {
		return strings.Count(p.look(p.admin+"/debug/pprof/goroutine?debug=2"), "prom.(*handler).ServeHTTP") >= n
	})
	return func() {
		p.t.Helper()
		cancel()
		wg.Wait()
		p.t.Logf("%d slow scrapers read %d bytes and came again %d times", n, bytes.Load(), again.Load())
	}
}

func (p *process) scrapeSlowly(ctx context.Context, bytes *atomic.Int64) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(p.admin, "http://"))
	if err != nil {
		return
	}
	var writer sync.WaitGroup
	defer writer.Wait()
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	const requests = 2000
	writer.Go(func() { fmt.Fprint(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", requests)) })
	one := make([]byte, 1)
	for range visit / time.Second { // that it was cut off, it would learn only when it had read all that is on the way
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		if _, err := conn.Read(one); err != nil {
			return
		}
		bytes.Add(1)
	}
}
