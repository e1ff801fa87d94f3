package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
)

// A run of the adaptive limit: the dependency is slow for a while, between two in which it is not.
const (
	seconds  = 45
	slowFrom = 15
	slowTill = 30
	slower   = 5
	follows  = 10 // seconds that it may take after a change
)

// dependency is what the limit stands before.
type dependency struct {
	name string
	best [2]float64 // the least limit that uses all of its capacity, before and while it is slow
	able [2]float64 // its capacity, calls a second
	call func(slow bool)
}

// adaptive puts an adaptive limit before dependencies whose latency is five times as long for 15 s, and offers twice what
// they can do. In real time: they wait, and burn nothing.
func (b *bench) adaptive() error {
	const fast = 20 * time.Millisecond
	dependencies := []dependency{slowerDependency(16, fast), furtherDependency(fast)}
	runs := make([][]second, len(dependencies))
	var all sync.WaitGroup
	for i, d := range dependencies {
		all.Go(func() { runs[i] = d.run() })
	}
	all.Wait()
	for i, d := range dependencies {
		fmt.Printf("\nadaptive limit, %s; seconds %d to %d it takes %d times as long\n", d.name, slowFrom, slowTill, slower)
		printRun(runs[i], d)
		for _, p := range []struct {
			name     string
			from, to int
			slow     int
		}{{"before", follows, slowFrom, 0}, {"slow", slowFrom + follows, slowTill, 1}, {"after", slowTill + follows, seconds, 0}} {
			of := runs[i][p.from:p.to]
			good, slots := 0.0, 0.0
			for _, s := range of {
				good += float64(s.done) / float64(len(of))
				slots += float64(s.slots) / float64(len(of))
			}
			what := fmt.Sprintf("%s, seconds %d to %d, ", p.name, p.from, p.to)
			b.floor(what+"of the capacity", good/d.able[p.slow], 0.8, "")
			b.ceiling(what+"limit against the least that uses the capacity", slots/d.best[p.slow], 2.5, "×")
		}
	}
	return nil
}

// slowerDependency has workers, each busy for the whole time: when it slows down it can do less, and the same limit is
// right.
func slowerDependency(workers int, fast time.Duration) dependency {
	free := make(chan struct{}, workers)
	able := float64(workers) / fast.Seconds()
	return dependency{
		name: fmt.Sprintf("a dependency of %d workers, %v a call", workers, fast),
		best: [2]float64{float64(workers), float64(workers)},
		able: [2]float64{able, able / slower},
		call: func(slow bool) {
			free <- struct{}{}
			defer func() { <-free }()
			time.Sleep(stretched(fast, slow))
		},
	}
}

// furtherDependency answers a call every 2 ms, after a delay that keeps nothing busy: when that grows, the limit has to
// grow as much for the same number of calls.
func furtherDependency(fast time.Duration) dependency {
	const every = 2 * time.Millisecond
	var mu sync.Mutex
	var next time.Time
	able := 1 / every.Seconds()
	return dependency{
		name: fmt.Sprintf("a dependency that is %v away and answers every %v", fast, every),
		best: [2]float64{able * (fast + every).Seconds(), able * (slower*fast + every).Seconds()},
		able: [2]float64{able, able},
		call: func(slow bool) {
			mu.Lock()
			if now := time.Now(); next.Before(now) {
				next = now
			}
			next = next.Add(every)
			at := next
			mu.Unlock()
			time.Sleep(time.Until(at.Add(stretched(fast, slow))))
		},
	}
}

func stretched(d time.Duration, slow bool) time.Duration {
	if slow {
		return slower * d
	}
	return d
}

// second is what happened in one second of a run.
type second struct {
	slots   int // at its end
	done    int64
	refused int64
	latency time.Duration // mean, of what was done
}

// run offers calls at random times, twice as many as can be done before it slows down, and looks once a second.
func (d dependency) run() []second {
	finding := limit.DefaultAdaptive()
	l := must(limit.New(limit.Config{Slots: 4, Queue: 16, Adaptive: &finding}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := time.Now()
	var done, refused, took atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		random := rand.New(rand.NewPCG(1, 1))
		for due := begin; ctx.Err() == nil; {
			due = due.Add(time.Duration(random.ExpFloat64() / (2 * d.able[0]) * float64(time.Second)))
			time.Sleep(time.Until(due))
			all.Go(func() {
				p, err := l.Acquire(ctx)
				if err != nil {
					if errors.Is(err, limit.ErrRejected) {
						refused.Add(1)
					}
					return
				}
				from := time.Now()
				at := int(from.Sub(begin) / time.Second)
				d.call(at >= slowFrom && at < slowTill)
				p.Done()
				took.Add(int64(time.Since(from)))
				done.Add(1)
			})
		}
	})
	var out []second
	for i := range seconds {
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * time.Second)))
		s := second{slots: l.Stats().Slots, done: done.Swap(0), refused: refused.Swap(0)}
		s.latency = time.Duration(took.Swap(0) / max(1, s.done))
		out = append(out, s)
	}
	cancel()
	all.Wait()
	return out
}

func printRun(run []second, d dependency) {
	rows := []struct {
		name string
		of   func(s second) int64
	}{
		{"limit", func(s second) int64 { return int64(s.slots) }},
		{"done", func(s second) int64 { return s.done }},
		{"refused", func(s second) int64 { return s.refused }},
		{"mean ms", func(s second) int64 { return s.latency.Milliseconds() }},
	}
	for from := 0; from < len(run); from += slowFrom {
		slow := 0
		if from == slowFrom {
			slow = 1
		}
		fmt.Printf("  seconds %d to %d: capacity %.0f a second, least limit for it %.0f\n", from, from+slowFrom, d.able[slow], d.best[slow])
		for _, r := range rows {
			var line strings.Builder
			for _, s := range run[from:min(from+slowFrom, len(run))] {
				fmt.Fprintf(&line, "%6d", r.of(s))
			}
			fmt.Printf("  %-8s%s\n", r.name, line.String())
		}
	}
}
