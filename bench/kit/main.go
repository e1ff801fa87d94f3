// Command kit measures what the packages of kit cost a call, beside gobreaker, failsafe-go, go-zero, aegis and
// hystrix-go, and what a server behind kit/limit does when it is offered twice what it can do.
//
// All contestants are in one process and take turns slice by slice, so that a machine that changes its speed changes
// all of them. A slice is measured in CPU time of the process; figures are medians of the rounds, ratios medians of
// the rounds' own ratios. The garbage collector runs between slices and not in them: what others allocate is shown
// and not charged.
//
//	go run ./kit
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/zeromicro/go-zero/core/logx"
)

// bench is what all parts share.
type bench struct {
	rounds int
	slice  time.Duration
	length time.Duration // of the overload
	bars   []bool        // held or missed
}

var parts = []struct {
	name string
	run  func(*bench) error
}{
	{"handle", (*bench).handle},
	{"key", (*bench).byKey},
	{"failing", (*bench).failing},
	{"faults", (*bench).faults},
	{"pools", (*bench).pools},
	{"scaling", (*bench).scaling},
	{"memory", (*bench).memory},
	{"rejected", (*bench).rejected},
	{"others", (*bench).others},
	{"overload", (*bench).overload},
	{"adaptive", (*bench).adaptive},
}

func main() {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	b := &bench{}
	flag.IntVar(&b.rounds, "rounds", 10, "rounds; the median is taken")
	flag.DurationVar(&b.slice, "slice", 40*time.Millisecond, "how long a contestant runs in a round; with many keys up to twelve times as long")
	flag.DurationVar(&b.length, "for", 30*time.Second, "how long the overload lasts")
	only := flag.String("only", "", "parts to run, separated by commas: "+strings.Join(names, ", ")+"; empty runs all")
	role := flag.String("be", "", "internal: be this child")
	addr := flag.String("addr", "", "internal: a child's address")
	flag.Parse()
	var err error
	switch {
	case *role != "":
		err = be(*role, *addr)
	case b.rounds < 1:
		err = errors.New("-rounds: must be at least 1")
	default:
		err = b.run(*only, names)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kit:", err)
		os.Exit(1)
	}
}

func (b *bench) run(only string, names []string) error {
	began := time.Now()
	wanted := names
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only: there is no part %q", name)
		}
	}
	logx.Disable()         // go-zero logs each minute, and when calls are refused
	debug.SetGCPercent(-1) // see measure
	runtime.GOMAXPROCS(2)  // with 1 no timer is on time, and two is what the scaling part needs
	fmt.Printf("%d processors, GOMAXPROCS 2, %s, %d rounds of %s\n", runtime.NumCPU(), runtime.Version(), b.rounds, b.slice)
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		runtime.GC()
	}
	fmt.Printf("\ntook %s\n", time.Since(began).Round(time.Second))
	if slices.Contains(b.bars, false) {
		return errors.New("a bar was missed")
	}
	return nil
}
