package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Print or check the configuration", Args: args(cobra.NoArgs), RunE: help}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "default",
			Short: "Print the whole configuration with its defaults and what each key is for",
			Args:  args(cobra.NoArgs),
			RunE:  func(cmd *cobra.Command, _ []string) error { return app.WriteDefaultConfig(cmd.OutOrStdout()) },
		},
		&cobra.Command{
			Use:   "check FILE",
			Short: "Judge a configuration file, with the environment's overrides; says every fault at once",
			Args:  args(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, files []string) error {
				data, err := os.ReadFile(files[0])
				if err != nil {
					return usageError{err}
				}
				if _, err := app.LoadConfig(files[0], data, os.Environ()); err != nil {
					return usageError{err}
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", files[0])
				return err
			},
		},
	)
	return cmd
}
