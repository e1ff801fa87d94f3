package main

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/dougong-io/dougong/bench/child"
	"github.com/dougong-io/dougong/kit/breaker"
)

// scaling compares one goroutine with two on two processors, in CPU time an operation.
func (b *bench) scaling() error {
	if runtime.NumCPU() < 2 {
		fmt.Println("\nscaling needs two processors: left out")
		return nil
	}
	keys := newKeys(manyKeys)
	hot := asked(keys)[4711:4713]
	group, every := newGroup(breaker.DefaultPolicy(), keys), newGroup(eachCounted(), keys)
	handle := func(g *breaker.Group[upstream], i int) func(int) { return succeedBy(must(g.Circuit(hot[i]))) }
	same := func(run func(int)) [2]func(int) { return [2]func(int){run, run} }
	cases := []struct {
		name   string
		judged bool
		runs   [2]func(n int)
	}{
		{"kit/breaker by handle, same key", true, [2]func(int){handle(group, 0), handle(group, 0)}},
		{"kit/breaker by handle, distinct keys", true, [2]func(int){handle(group, 0), handle(group, 1)}},
		{"kit/breaker by key, same key", true, [2]func(int){succeedByKey(group, hot[0]), succeedByKey(group, hot[0])}},
		{"kit/breaker by key, distinct keys", true, [2]func(int){succeedByKey(group, hot[0]), succeedByKey(group, hot[1])}},
		{"kit/breaker by handle, same key, each call counted", false, [2]func(int){handle(every, 0), handle(every, 0)}},
		{"kit/breaker by handle, distinct keys, each call counted", false, [2]func(int){handle(every, 0), handle(every, 1)}},
		{peers[0].name + ", same key", false, same(peers[0].make())},
		{peers[3].name + ", same key", false, same(peers[3].make())},
		{peers[5].name + ", same key", false, same(peers[5].make())},
		{peers[7].name + ", same key", false, same(peers[7].make())},
		{peers[0].name + ", distinct keys", false, [2]func(int){peers[0].make(), peers[0].make()}},
		{peers[3].name + ", distinct keys", false, [2]func(int){peers[3].make(), peers[3].make()}},
		{peers[5].name + ", distinct keys", false, [2]func(int){peers[5].make(), peers[5].make()}},
		{peers[7].name + ", distinct keys", false, [2]func(int){peers[7].make(), peers[7].make()}},
	}
	var contests []*contest
	for _, c := range cases {
		contests = append(contests,
			&contest{name: c.name, run: func(n int) { together(n, c.runs[0]) }},
			&contest{name: c.name, run: func(n int) { together(n/2, c.runs[0], c.runs[1]) }})
	}
	b.takeTurns(contests)
	fmt.Printf("\na call that is allowed and succeeds, one goroutine and two on two processors\n  %-72s %10s %10s %8s\n", "", "one, ns", "two, ns", "ratio")
	for i, c := range cases {
		one, two := contests[2*i], contests[2*i+1]
		fmt.Printf("  %-72s %10.1f %10.1f %8.2f\n", c.name, median(one.ns), median(two.ns), ratio(two, one))
	}
	for i, c := range cases {
		if c.judged {
			b.ceiling("two goroutines against one, "+c.name, ratio(contests[2*i+1], contests[2*i]), 1.5, "×")
		}
	}
	return nil
}

// together has each run n times on a processor of its own. They begin together.
func together(n int, runs ...func(n int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for processor, run := range runs {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its processor
			err := child.Pin(processor)
			ready.Done()
			<-start
			passed(err)
			run(n)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}
