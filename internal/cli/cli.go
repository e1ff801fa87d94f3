package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
)

// Exit codes. A second signal exits with 130, which package lifecycle does.
const (
	exitOK           = 0
	exitFailure      = 1 // it was tried and failed
	exitUsage        = 2 // the command line or a file that it names is wrong; nothing was started
	exitInconclusive = 3 // it was tried, and nothing can be said
	exitInterrupted  = 130
)

// usageError is a fault of the command line or of a file that it names.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Main runs the command line and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var usage usageError
	var coded codeError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), errors.Is(err, app.ErrPlaintextToken):
		lastWords(stderr, err.Error())
		return exitUsage
	case errors.As(err, &coded):
		lastWords(stderr, ours(err))
		return coded.code
	default:
		lastWords(stderr, ours(err))
		return exitFailure
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "dougong",
		Short:         "Services that stay up under load, faults and rollouts",
		Long:          "Dougong runs services that stay up under load, faults and rollouts.\n`dougong up` runs all of them in one process, with nothing else installed.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       app.Version(),
		Args:          args(cobra.NoArgs),
		RunE:          help,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newUp(), newRun(), newLoad(), newFault(), newProve(), newBreaker(), newConfig(), newModel(), newWorker(), newToken(), newVersion())
	return root
}

// help is what a command that only has commands below it does.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// args makes a wrong number of arguments a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			hint := ""
			if len(args) > 0 {
				cmd.SuggestionsMinimumDistance = 2
				if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
					hint = "\ndid you mean: " + strings.Join(similar, ", ")
				}
			}
			return usageError{fmt.Errorf("%w%s\nusage: %s", err, hint, cmd.UseLine())}
		}
		return nil
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and how it was built",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), app.Version())
			return err
		},
	}
}
