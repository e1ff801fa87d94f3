//go:build linux

package soak

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// memory is what a process holds once it has collected its garbage.
type memory struct {
	rss  int64 // resident: what a cgroup counts and kills for
	anon int64 // of that what no file backs
	heap int64 // live objects and what has gathered since the collection
	all  metrics
}

func (m memory) String() string {
	return fmt.Sprintf("RSS %s (%s without code), heap %s", mib(m.rss), mib(m.anon), mib(m.heap))
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// collected forces collections and reads the memory. It takes two: what lies in a sync.Pool survives the first.
func (p *process) collected() memory {
	p.t.Helper()
	for range 2 {
		p.look(p.admin + "/debug/pprof/heap?gc=1")
	}
	st, err := p.status()
	if err != nil {
		p.alive()
		p.t.Fatal(err)
	}
	all := parseMetrics(p.look(p.admin + "/metrics"))
	return memory{rss: st.rss, anon: st.anon, heap: int64(all["go_memstats_heap_alloc_bytes"]), all: all}
}

// settled waits until the memory does not shrink any more: Go gives free pages back to the system in the background,
// a few at a time.
func (p *process) settled() memory {
	p.t.Helper()
	m := p.collected()
	for range 20 {
		time.Sleep(500 * time.Millisecond)
		next := p.collected()
		if next.rss > m.rss-m.rss/100 {
			return next
		}
		m = next
	}
	p.t.Logf("the memory still shrinks: %v", m)
	return m
}

// back waits until the memory is within 5 % of what it was before.
//
// The resident memory is what is held to it, as that is what a cgroup kills for. It is the harder measure, too: the
// heap has to be free, and given back. The heap alone is judged beside it, for the sake of a leak so slow that the
// resident memory hides it, with 256 KiB more for what a look at it leaves behind.
func (p *process) back(before memory) memory {
	p.t.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		m := p.collected()
		rssBack, heapBack := m.rss <= before.rss+before.rss/20, m.heap <= before.heap+before.heap/20+256<<10
		if rssBack && heapBack {
			return m
		}
		if time.Now().After(end) {
			p.t.Errorf("memory is not back within 5 %%: %v before the load, %v after it\n%s", before, m, growth(before, m))
			return m
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// growth says where memory went, by the runtime's own account.
func growth(before, after memory) string {
	var lines []string
	for name, value := range after.all {
		if strings.HasPrefix(name, "go_memstats_") && strings.HasSuffix(name, "_bytes") && value != before.all[name] {
			lines = append(lines, fmt.Sprintf("%+10.0f KiB to %.0f KiB %s", (value-before.all[name])/1024, value/1024, name))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
