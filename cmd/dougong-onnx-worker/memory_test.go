//go:build cgo && !asan && !race

package main

import "testing"

// TestMemoryAndThreadsAreSteady: with what the service sets in a worker's environment.
func TestMemoryAndThreadsAreSteady(t *testing.T) {
	p, _ := ready(t, 4, digits(t), "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=65536", "MALLOC_TRIM_THRESHOLD_=131072")
	crowd(p, 300)
	before := p.pong()
	crowd(p, 1500)
	after := p.pong()
	t.Logf("before %+v, after %+v", before, after)
	if after.NativeBytes > before.NativeBytes || after.Threads > before.Threads+2 || after.RSSBytes > before.RSSBytes+8<<20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	p.drain()
}
