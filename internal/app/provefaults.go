package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dougong-io/dougong/examples/faults"
	"github.com/dougong-io/dougong/internal/config"
	provefault "github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/live"
	provereport "github.com/dougong-io/dougong/prove/report"
)

// FaultPlanArgs is what `dougong prove faults` was told.
type FaultPlanArgs struct {
	Plan    string // YAML file
	BuiltIn string // or the name of a plan that comes along
	Journal string // directory; empty: the user's

	Pairs  int           // 0: as the plan says
	Window time.Duration // 0: as the plan says
	Seed   uint64        // 0: as the plan says

	HTML, JSON, Markdown string // files to write
	Quiet                bool
	Output               io.Writer // of the processes that the plan starts; nil: nobody's
	Warnings             io.Writer // what a reader of the plan should know before it runs; nil: nobody is told
}

// BuiltInFaultPlans names the plans that come along, sorted.
func BuiltInFaultPlans() []string {
	entries, err := faults.Plans.ReadDir(".")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// BuiltInFaultPlan is the file of a plan that comes along.
func BuiltInFaultPlan(name string) ([]byte, error) {
	if !slices.Contains(BuiltInFaultPlans(), name) {
		return nil, fmt.Errorf("there is no built-in plan %q; there are %s", name, strings.Join(BuiltInFaultPlans(), ", "))
	}
	return faults.Plans.ReadFile(name + ".yaml")
}

// ErrFaultPlan is wrapped by errors that say that the arguments or the plan are wrong. Nothing was done.
var ErrFaultPlan = errors.New("nothing was done")

// FaultVerdict is what a run says to its caller.
type FaultVerdict struct {
	Interrupted bool
	Broken      string   // why it ended early, if it did
	Left        []string // what could not be undone
}

// ProveFaults carries out a plan, tells on out what happens, and writes the reports and the table. Who ends the process
// before it returns calls cleanup.Run.
func ProveFaults(ctx context.Context, args FaultPlanArgs, out io.Writer, cleanup *LoadCleanup) (FaultVerdict, error) {
	plan, err := args.plan()
	if err != nil {
		return FaultVerdict{}, fmt.Errorf("%w:\n%w", ErrFaultPlan, err)
	}
	if plan.Pairs < effect.MinPairs && args.Warnings != nil {
		fmt.Fprintf(args.Warnings, "warning: %d pairs a fault are too few to claim anything, whatever the faults do: it takes %d\n", plan.Pairs, effect.MinPairs)
	}
	reports, err := args.openReports()
	if err != nil {
		return FaultVerdict{}, fmt.Errorf("%w: %w", ErrFaultPlan, err)
	}
	defer reports.discard()
	cleanup.add(reports.discard)
	opt := provefault.Options{Journal: args.Journal, Output: args.Output, Version: Version()}
	if !args.Quiet {
		told := faultProgress{out: out}
		opt.Progress = told.show
	}
	result, err := provefault.Run(ctx, plan, opt)
	var verdict FaultVerdict
	if errors.Is(err, provefault.ErrLeft) {
		verdict.Left = strings.Split(err.Error(), "\n")
	}
	if result == nil {
		if errors.Is(err, provefault.ErrPlan) {
			err = fmt.Errorf("%w: %s: %w", ErrFaultPlan, args.file(), err)
		}
		verdict.Interrupted = errors.Is(err, context.Canceled)
		return verdict, err
	}
	switch result.End {
	case provefault.EndInterrupted:
		verdict.Interrupted = true
	case provefault.EndBroken:
		verdict.Broken = result.Reason
	}
	if err := reports.write(result); err != nil {
		return verdict, err
	}
	return verdict, provereport.WriteFaultsText(out, result, widthOf(out))
}

// file is what messages call the plan.
func (a *FaultPlanArgs) file() string {
	if a.BuiltIn != "" {
		return a.BuiltIn + ".yaml"
	}
	return a.Plan
}

func (a *FaultPlanArgs) plan() (provefault.Plan, error) {
	plan := provefault.DefaultPlan()
	var data []byte
	var err error
	if a.BuiltIn != "" {
		data, err = BuiltInFaultPlan(a.BuiltIn)
	} else {
		data, err = os.ReadFile(a.Plan)
	}
	if err != nil {
		return plan, err
	}
	type file provefault.Plan // judged once it is whole
	if err := config.Decode(a.file(), data, (*file)(&plan)); err != nil {
		return plan, err
	}
	set(&plan.Pairs, a.Pairs)
	set(&plan.Window, provefault.Duration(a.Window))
	set(&plan.Seed, a.Seed)
	if err := plan.Validate(); err != nil {
		return plan, a.placed(err, data)
	}
	return plan, nil
}

// placed gives the faults of a plan the lines of its file, unless they are those of an argument.
func (a *FaultPlanArgs) placed(err error, data []byte) error {
	asWritten := provefault.DefaultPlan()
	var lines config.Errors
	errors.As(config.Decode(a.file(), data, &asWritten), &lines)
	var faults []error
	for _, fault := range parts(err) {
		place := slices.IndexFunc(lines, func(e *config.Error) bool { return e.Path+": "+e.Msg == fault.Error() })
		if place < 0 {
			faults = append(faults, fmt.Errorf("%s: %w", a.file(), fault))
		} else {
			faults = append(faults, lines[place])
		}
	}
	return errors.Join(faults...)
}

// parts are the errors that errors.Join has joined.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (a *FaultPlanArgs) openReports() (reports[*provefault.Result], error) {
	return openReports([]pendingReport[*provefault.Result]{
		{path: a.HTML, write: provereport.WriteFaultsHTML},
		{path: a.JSON, write: provereport.WriteFaultsJSON},
		{path: a.Markdown, write: provereport.WriteFaultsMarkdown},
	})
}

// widthOf is how many cells a line has on out; 0 if that is no terminal, where nothing needs to be cut.
func widthOf(out io.Writer) int {
	if file, ok := out.(*os.File); ok {
		if width, _ := live.Detect(file, os.Getenv).Size(); width > 0 {
			return width
		}
	}
	return 0
}

// faultProgress writes a line whenever something else happens.
type faultProgress struct {
	out  io.Writer
	mu   sync.Mutex
	last string
}

func (f *faultProgress) show(p provefault.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	step := fmt.Sprintf("%s %d/%d", p.Fault, p.Pair+1, p.Pairs)
	if p.Fault == "" {
		step = p.Phase
	}
	if step == f.last {
		return
	}
	f.last = step
	if p.Fault == "" {
		fmt.Fprintf(f.out, "%6s  %s\n", p.Elapsed.Round(time.Second), p.Phase)
		return
	}
	fmt.Fprintf(f.out, "%6s  fault %d of %d: %-24s pair %2d of %d, about %v left\n",
		p.Elapsed.Round(time.Second), p.Row+1, p.Rows, p.Fault, p.Pair+1, p.Pairs, p.Left.Round(time.Second))
}

// UndoFaults puts right what runs left that did not end, and says what it did. The error says that something is left.
func UndoFaults(ctx context.Context, journal string, out io.Writer) error {
	if journal == "" {
		var err error
		if journal, err = provefault.DefaultJournal(); err != nil {
			return err
		}
	}
	undone, err := provefault.Undo(ctx, journal)
	for _, u := range undone {
		if u.Living {
			fmt.Fprintf(out, "%s: its prover is at work; left alone\n", u.Journal)
			continue
		}
		fmt.Fprintf(out, "run %s of %s:\n", u.Run, u.Began.Local().Format(time.DateTime))
		for _, action := range u.Actions {
			fmt.Fprintf(out, "  %s\n", action)
		}
		for _, left := range u.Left {
			fmt.Fprintf(out, "  left: %s\n", left)
		}
		if len(u.Actions)+len(u.Left) == 0 {
			fmt.Fprintln(out, "  nothing was left of it; its journal is closed")
		}
	}
	if len(undone) == 0 && err == nil {
		fmt.Fprintln(out, "nothing to undo")
	}
	return err
}

// isFaultPlan tells whether a file is a plan, be it a wrong one.
func isFaultPlan(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil || bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return false
	}
	type unjudged provefault.Plan
	plan := unjudged(provefault.DefaultPlan())
	err = config.Decode(file, data, &plan)
	return err == nil && len(plan.Services)+len(plan.Faults) > 0 || slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(file))
}

// RenderFaults writes the reports that args name from a result that was kept as JSON; without any, the table.
func RenderFaults(file string, args FaultPlanArgs, out io.Writer) error {
	result, err := readResult(file, provereport.ReadFaultsJSON)
	if err != nil {
		if isFaultPlan(file) {
			return fmt.Errorf("%s is a plan, and no result: 'dougong prove faults %s --json RESULT.json' carries it out and keeps one", file, file)
		}
		return err
	}
	rs, err := args.openReports()
	if err != nil {
		return err
	}
	defer rs.discard()
	if len(rs) == 0 {
		return provereport.WriteFaultsText(out, result, widthOf(out))
	}
	return rs.write(result)
}
