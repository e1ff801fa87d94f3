package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
)

func newWorker() *cobra.Command {
	cmd := &cobra.Command{Use: "worker", Short: "Hold programs that run models against their protocol", Args: args(cobra.NoArgs), RunE: help}
	var check app.WorkerCheck
	var asJSON, verbose bool
	run := &cobra.Command{
		Use:   "check --model FILE --cases FILE -- PROGRAM [ARGUMENT]...",
		Short: "Start a worker as the service would, and hold it against each rule of the worker protocol",
		Long: "Starts a worker as the service would, and holds it against each rule of docs/worker-protocol.md: what it must\n" +
			"answer, what it must refuse, and what it must survive. It exits with 1 if a rule is broken.",
		Example: "  dougong worker check --model digits.npz --cases cases.json -- python3 worker.py",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, command []string) error {
			check.Command = command
			out := cmd.OutOrStdout()
			if verbose {
				check.Log = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
			}
			rules := 0
			encoder := json.NewEncoder(out)
			broken, err := app.CheckWorker(cmd.Context(), check, func(r app.WorkerRule) {
				rules++
				switch {
				case asJSON:
					encoder.Encode(r)
				case r.OK:
					fmt.Fprintf(out, "ok      %-34s %s\n", r.Name, r.Why)
				default:
					fmt.Fprintf(out, "BROKEN  %-34s %s\n        %s\n", r.Name, r.Why, r.Detail)
				}
			})
			if err != nil {
				return err
			}
			if broken > 0 {
				return fmt.Errorf("%d of %d rules are broken", broken, rules)
			}
			if !asJSON {
				fmt.Fprintf(out, "all %d rules are kept\n", rules)
			}
			return nil
		},
	}
	flags := run.Flags()
	flags.StringVar(&check.Model, "model", "", "the model file that the worker is given")
	flags.StringVar(&check.Format, "format", "", "its format, as LOAD names it (default: the ending of its name)")
	flags.StringVar(&check.Cases, "cases", "", "a JSON file of inputs and the outputs that they must have")
	flags.StringToStringVar(&check.Options, "option", nil, "an option for the worker, KEY=VALUE; may be repeated")
	flags.BoolVar(&asJSON, "json", false, "print a line of JSON for each rule")
	flags.BoolVarP(&verbose, "verbose", "v", false, "print what the worker prints, to standard error")
	for _, name := range []string{"model", "cases"} {
		if err := run.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	cmd.AddCommand(run)
	return cmd
}
