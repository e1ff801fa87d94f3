package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
	"github.com/dougong-io/dougong/kit/lifecycle"
)

func newProve() *cobra.Command {
	cmd := &cobra.Command{Use: "prove", Short: "Prove what services bear", Args: args(cobra.NoArgs), RunE: help}
	cmd.AddCommand(newProveFaults())
	return cmd
}

func newProveFaults() *cobra.Command {
	var a app.FaultPlanArgs
	var undo, verbose bool
	cmd := &cobra.Command{
		Use:   "faults [PLAN]",
		Short: "Measure what each fault of a plan does to a service under load",
		Long: "Offers a steady load, switches each fault of a plan on and off in pairs of windows, and shows what it does to latency,\n" +
			"time-outs, errors and degraded answers, with 95 % intervals, and how soon the service tells of it and recovers.\n" +
			"Everything is undone at the end and on Ctrl-C; after a crash of this program `dougong prove faults --undo` does it.\n" +
			"docs/prove-faults.md gives the method.\n" +
			"Exit code: 0 all faults were tried and undone, 1 the service did not come back, or something could not be undone;\n" +
			"2 the command or the plan is wrong; 130 interrupted, with a report of what ran.",
		Example: "  dougong prove faults --built-in inference --report faults.html\n" +
			"  dougong prove faults plan inference >plan.yaml && dougong prove faults plan.yaml --json faults.json\n" +
			"  dougong prove faults --undo",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if undo {
				if len(files) > 0 || a.BuiltIn != "" {
					return usageError{errors.New("--undo: takes no plan: the journal knows what is to be undone")}
				}
				return app.UndoFaults(cmd.Context(), a.Journal, cmd.OutOrStdout())
			}
			if len(files) == 1 {
				a.Plan = files[0]
			}
			if (a.Plan == "") == (a.BuiltIn == "") {
				return usageError{fmt.Errorf("give a plan, or --built-in with a name, and not both; built in is %s", strings.Join(app.BuiltInFaultPlans(), ", "))}
			}
			for _, name := range []string{"pairs", "window"} {
				if f := cmd.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
					return usageError{fmt.Errorf("--%s: is 0", name)}
				}
			}
			if verbose {
				a.Output = cmd.ErrOrStderr()
			}
			return runProveFaults(cmd, a)
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.BuiltIn, "built-in", "", "a plan that comes along: "+strings.Join(app.BuiltInFaultPlans(), ", "))
	f.BoolVar(&undo, "undo", false, "put right what runs left that did not end, and do nothing else")
	f.StringVar(&a.Journal, "journal", "", "directory of what is to be undone (default: the user's state directory)")
	f.IntVar(&a.Pairs, "pairs", 0, "pairs of windows for each fault (default: the plan's)")
	f.DurationVar(&a.Window, "window", 0, "length of a window (default: the plan's)")
	f.Uint64Var(&a.Seed, "seed", 0, "of the order of windows and of the load (default: the plan's, or drawn)")
	f.BoolVarP(&a.Quiet, "quiet", "q", false, "say nothing while it runs")
	f.BoolVar(&verbose, "verbose", false, "show on standard error what the processes write that the plan starts")
	addFaultReportFlags(cmd, &a)
	cmd.AddCommand(newProveFaultsPlan(), newProveFaultsReport())
	return cmd
}

func addFaultReportFlags(cmd *cobra.Command, a *app.FaultPlanArgs) {
	onceVar(cmd, &a.HTML, "report", "write an HTML report, one file that needs no network")
	onceVar(cmd, &a.JSON, "json", "write the result as JSON")
	onceVar(cmd, &a.Markdown, "markdown", "write the table as Markdown")
}

func runProveFaults(cmd *cobra.Command, a app.FaultPlanArgs) error {
	// A second signal ends the program at once: what it has done is in the journal then.
	var cleanup app.LoadCleanup
	ctx, stop := lifecycle.Signals(context.Background(), func(code int) {
		cleanup.Run()
		fmt.Fprintln(cmd.ErrOrStderr(), "dougong: ended at once; run 'dougong prove faults --undo'")
		os.Exit(code)
	})
	defer stop()
	a.Warnings = cmd.ErrOrStderr()
	verdict, err := app.ProveFaults(ctx, a, cmd.OutOrStdout(), &cleanup)
	for _, left := range verdict.Left {
		fmt.Fprintln(cmd.ErrOrStderr(), "dougong: not undone: "+left)
	}
	switch {
	case errors.Is(err, app.ErrFaultPlan):
		return usageError{err}
	case len(verdict.Left) > 0:
		return errors.New("something could not be undone; run 'dougong prove faults --undo' once the cause is gone")
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	case verdict.Interrupted:
		return codeError{exitInterrupted, errors.New("interrupted; everything is undone")}
	case verdict.Broken != "":
		return errors.New(verdict.Broken)
	}
	return nil
}

func newProveFaultsPlan() *cobra.Command {
	return &cobra.Command{
		Use:       "plan NAME",
		Short:     "Print a plan that comes along, to begin one's own with",
		Args:      args(cobra.ExactArgs(1)),
		ValidArgs: app.BuiltInFaultPlans(),
		RunE: func(cmd *cobra.Command, names []string) error {
			data, err := app.BuiltInFaultPlan(names[0])
			if err != nil {
				return usageError{err}
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
}

func newProveFaultsReport() *cobra.Command {
	var a app.FaultPlanArgs
	cmd := &cobra.Command{
		Use:   "report RESULT.json",
		Short: "Show a result that was kept as JSON, or write reports from it",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := app.RenderFaults(files[0], a, cmd.OutOrStdout()); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	addFaultReportFlags(cmd, &a)
	return cmd
}
