package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
)

func newModel() *cobra.Command {
	cmd := &cobra.Command{Use: "model", Short: "Look at models", Args: args(cobra.NoArgs), RunE: help}
	var asJSON bool
	inspect := &cobra.Command{
		Use:   "inspect PATH",
		Short: "Say what is in a model file, a version's folder, a model's folder or a repository",
		Long: "Says what is in a model file, a version's folder, a model's folder or a repository: format, trees, depth,\n" +
			"the most important features, and whether the golden rows hold.",
		Example: "  dougong model inspect examples/models/loan-default\n  dougong model inspect model.json",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, paths []string) error {
			reports, err := app.InspectModel(cmd.Context(), paths[0])
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return errors.Join(encoder.Encode(reports), err)
			}
			for i, r := range reports {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := printReport(cmd.OutOrStdout(), r); err != nil {
					return err
				}
			}
			return err
		},
	}
	inspect.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(inspect)
	return cmd
}

// mostFeatures is how many features a person reads.
const mostFeatures = 10

func printReport(w io.Writer, r app.ModelReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, r.Title)
	if r.Description != "" {
		fmt.Fprintf(t, "  %s\n", r.Description)
	}
	fmt.Fprintf(t, "  format\t%s\n", strings.TrimSpace(r.Format+" "+r.Library))
	if r.Engine != "" {
		fmt.Fprintf(t, "  engine\t%s, whose workers serve it\n", r.Engine)
		fmt.Fprintf(t, "  rows\t%d features, %d output(s)\n", r.Features, r.Outputs)
	} else {
		fmt.Fprintf(t, "  objective\t%s, %d output(s), computed in %s\n", r.Objective, r.Outputs, r.Precision)
		fmt.Fprintf(t, "  trees\t%d, depth at most %d\n", r.Trees, r.MaxDepth)
		fmt.Fprintf(t, "  leaves\t%d, at most %d in a tree\n", r.Leaves, r.MaxLeaves)
		fmt.Fprintf(t, "  features\t%d, of which %d are used in %d splits\n", r.Features, len(r.Importances), r.Splits)
	}
	fmt.Fprintf(t, "  file\t%s, %d bytes\n", r.File, r.Bytes)
	fmt.Fprintf(t, "  sha256\t%s\n", r.SHA256)
	fmt.Fprintf(t, "  golden rows\t%s\n", r.Golden)
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Engine != "" {
		return nil
	}
	fmt.Fprintln(w, "  most important features, by share of the gain:")
	for i, f := range r.Importances {
		if i == mostFeatures {
			fmt.Fprintf(w, "    and %d more\n", len(r.Importances)-mostFeatures)
			break
		}
		bar := strings.Repeat("█", int(f.Gain*40+0.5))
		fmt.Fprintf(w, "    %-28s %5.1f %%  %5d splits  %s\n", f.Feature, 100*f.Gain, f.Splits, bar)
	}
	return nil
}
