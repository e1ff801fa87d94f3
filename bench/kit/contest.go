package main

import (
	"fmt"
	"runtime"
	"time"
)

// contest is a contestant: something that is done n times, and what it took each time.
type contest struct {
	name   string
	run    func(n int)
	before func() // of each slice, not measured

	slices int       // that it runs at a time; 0 for one
	n      int       // operations of them
	ns     []float64 // CPU time an operation, by round
	allocs float64   // an operation
}

// compare lets contestants take turns and prints what they took, beside the first one. Each is warmed up first.
func (b *bench) compare(title string, contests ...*contest) {
	b.takeTurns(contests)
	printTable(title, contests)
}

func (b *bench) takeTurns(contests []*contest) {
	for _, c := range contests {
		c.calibrate(time.Duration(max(1, c.slices)) * b.slice)
	}
	for range b.rounds {
		for _, c := range contests {
			cpu := c.measure()
			c.ns = append(c.ns, float64(cpu)/float64(c.n))
		}
	}
}

// calibrate warms a contestant up, finds how many operations fill a slice, and counts what they allocate. The runtime
// allocates a little of its own in that time.
func (c *contest) calibrate(slice time.Duration) {
	c.n = 64
	for took := c.measure(); ; took = c.measure() {
		if took >= slice/4 {
			c.n = max(1, int(float64(c.n)*float64(slice)/float64(took)))
			break
		}
		c.n *= 2
	}
	var from, to runtime.MemStats
	runtime.ReadMemStats(&from)
	c.measure()
	runtime.ReadMemStats(&to)
	c.allocs = float64(to.Mallocs-from.Mallocs) / float64(c.n)
}

// measure runs a slice. The collector is off in it, and collects before: whether a contestant that allocates meets a
// collection would be chance, and its length depends on what the others keep.
func (c *contest) measure() time.Duration {
	if c.allocs >= 0.01 {
		runtime.GC()
	}
	if c.before != nil {
		c.before()
	}
	begin := processTime()
	c.run(c.n)
	return processTime() - begin
}

// must is for what cannot fail with the arguments that are written here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("bench/kit: %v", err))
	}
	return v
}

// passed ends the bench when a call was refused that must pass: the figures would be those of something else.
func passed(err error) {
	if err != nil {
		panic(fmt.Sprintf("bench/kit: a call was refused: %v", err))
	}
}
