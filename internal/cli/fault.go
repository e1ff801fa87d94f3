package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
)

func newFault() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Inject faults into a running process, and take them away",
		Long: "Talks to the admin port of a running process. Rules end by themselves, with all that they did; `dougong fault kill`\n" +
			"ends all of them at once, whoever set them. docs/kit/fault.md explains rules, docs/faults.md lists the points.",
		Example: "  dougong fault set slow --point inference.score --where model=loan-mini --delay 50ms --for 30s\n" +
			"  dougong fault list\n" +
			"  dougong fault clear slow",
		Args: args(cobra.NoArgs),
		RunE: help,
	}
	cmd.AddCommand(newFaultList(), newFaultPoints(), newFaultSet(), newFaultApply(), newFaultClear(), newFaultKill(true), newFaultKill(false), newFaultCheck())
	return cmd
}

func addAdminFlags(cmd *cobra.Command, c *app.FaultClient) {
	f := cmd.Flags()
	f.StringVar(&c.URL, "admin", "http://127.0.0.1:9090", "the admin port of the process")
	f.StringVar(&c.TokenFile, "token-file", "", "file with a bearer token of the role fault")
	f.BoolVar(&c.PlaintextToken, "plaintext-token", false, "send the token to another machine over http:// too, where whoever is on the way can read it")
	f.StringVar(&c.CAFile, "ca", "", "PEM file of the authorities to trust, for https://")
}

func newFaultList() *cobra.Command {
	var c app.FaultClient
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the rules, what they did, and who was struck last",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), status)
			}
			return listFaults(cmd.OutOrStdout(), status, time.Now())
		},
	}
	addAdminFlags(cmd, &c)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole status as JSON")
	return cmd
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

const mostRecent = 10

func listFaults(out io.Writer, status fault.Status, now time.Time) error {
	if len(status.Killed) > 0 {
		fmt.Fprintf(out, "The kill switch is thrown by %s: no rule is in force.\n\n", strings.Join(status.Killed, ", "))
	}
	if len(status.Rules) == 0 {
		_, err := fmt.Fprintln(out, "There are no rules.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tSOURCE\tSTATE\tPOINT\tWHERE\tEFFECT\tSEEN\tHITS\tENDS IN")
	for _, r := range status.Rules {
		ends := "-"
		if !r.Rule.Expires.IsZero() && r.Rule.Expires.After(now) {
			ends = r.Rule.Expires.Sub(now).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", r.ID, r.Source, r.State, r.Rule.Point, whereText(r.Rule.Where), effectText(r.Rule), r.Seen, r.Hits, ends)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(status.Recent) == 0 {
		return nil
	}
	fmt.Fprintln(out, "\nStruck last:")
	for _, h := range status.Recent[:min(len(status.Recent), mostRecent)] {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", h.At.Local().Format("15:04:05.000"), h.Point, h.Rule, h.Effect, whereText(h.Attributes))
	}
	return w.Flush()
}

func whereText(attributes map[string]string) string {
	if len(attributes) == 0 {
		return "-"
	}
	var pairs []string
	for key, value := range attributes {
		pairs = append(pairs, printable(key)+"="+printable(value))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// printable keeps what a caller of the service wrote from writing on the terminal of who looks.
func printable(s string) string {
	if quoted := fmt.Sprintf("%q", s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// effectText is the effect with its parameters, as JSON without the braces.
func effectText(r fault.Rule) string {
	data, err := json.Marshal(r)
	if err != nil {
		return r.Effect()
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return r.Effect()
	}
	var parameters map[string]any
	numbers := json.NewDecoder(bytes.NewReader(fields[r.Effect()]))
	numbers.UseNumber()
	if err := numbers.Decode(&parameters); err != nil || len(parameters) == 0 {
		return r.Effect()
	}
	var parts []string
	for key, value := range parameters {
		parts = append(parts, key+"="+printable(fmt.Sprint(value)))
	}
	slices.Sort(parts)
	return r.Effect() + " " + strings.Join(parts, " ")
}

func newFaultPoints() *cobra.Command {
	var c app.FaultClient
	cmd := &cobra.Command{
		Use:   "points",
		Short: "List the points of the process: where rules can strike",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "POINT\tATTRIBUTES\tEFFECTS BEYOND STALLS\tHITS\tWHAT HAPPENS THERE")
			for _, p := range status.Points {
				attributes, effects := strings.Join(p.Attributes, ", "), p.Effects
				if attributes == "" {
					attributes = "-"
				}
				if effects == "" {
					effects = "-"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", p.Name, attributes, effects, p.Hits, p.Doc)
			}
			return w.Flush()
		},
	}
	addAdminFlags(cmd, &c)
	return cmd
}

func newFaultApply() *cobra.Command {
	var c app.FaultClient
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Replace all rules that the admin port has set by a document",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			document, err := readFaults(files[0])
			if err != nil {
				return usageError{err}
			}
			rules, err := c.Apply(cmd.Context(), document)
			if err != nil {
				return err
			}
			var faults []error
			for _, r := range rules {
				faults = append(faults, tellRule(cmd, c, r))
			}
			return errors.Join(faults...)
		},
	}
	addAdminFlags(cmd, &c)
	return cmd
}

func newFaultCheck() *cobra.Command {
	var c app.FaultClient
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a document of rules",
		Long: "Says what is wrong with a document of rules, also against the default ceiling; and whether it can be kept in a file or\n" +
			"in etcd, where each rule needs \"expires\". Warns of rules that have expired, and, with --admin, of those that would strike no\n" +
			"point of that process. Exit code: 0 it is good, with warnings or without; 2 it is wrong.",
		Example: "  dougong fault check rules.json --admin http://127.0.0.1:9090",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			document, err := readFaults(files[0])
			if err == nil {
				err = fault.DefaultCeiling().Allows(document, time.Now())
			}
			if err != nil {
				return usageError{err}
			}
			where := "for 'dougong fault apply', faults.file and etcd"
			if slices.ContainsFunc(document.Rules, func(r fault.Rule) bool { return r.For > 0 }) {
				where = "for 'dougong fault apply'; not for faults.file and etcd, where \"for\" would begin anew at each reading"
			}
			if _, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d rules, good %s\n", files[0], len(document.Rules), where); err != nil {
				return err
			}
			var points []fault.PointStatus
			if c.URL != "" {
				status, err := c.Status(cmd.Context())
				if err != nil {
					return fmt.Errorf("the rules are good, but the points are not known: %w", err)
				}
				points = append([]fault.PointStatus{}, status.Points...)
			}
			for _, text := range ruleWarnings(document, points, time.Now()) {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s: %s\n", files[0], text)
			}
			return nil
		},
	}
	addAdminFlags(cmd, &c)
	f := cmd.Flags().Lookup("admin")
	c.URL, f.DefValue, f.Usage = "", "", "the admin port of a process whose points the rules are to strike (default: none is asked)"
	return cmd
}

// ruleWarnings says of which rules nobody will see anything. Points that are nil are not known.
func ruleWarnings(d fault.Document, points []fault.PointStatus, now time.Time) (warnings []string) {
	for i, r := range d.Rules {
		at := fmt.Sprintf("rules[%d] (%s): ", i, r.ID)
		if !r.Expires.IsZero() && !r.Expires.After(now) {
			warnings = append(warnings, at+fmt.Sprintf("expired %v ago: it strikes nothing any more", now.Sub(r.Expires).Round(time.Second)))
		}
		if points == nil {
			continue
		}
		if why := faultadmin.Unreached(r, points); why != "" {
			warnings = append(warnings, at+"strikes nothing there: "+why)
		}
	}
	return warnings
}

func readFaults(file string) (fault.Document, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return fault.Document{}, err
	}
	document, err := fault.Parse(data)
	if err != nil {
		return fault.Document{}, fmt.Errorf("%s: %w", file, err)
	}
	return document, nil
}

func newFaultClear() *cobra.Command {
	var c app.FaultClient
	cmd := &cobra.Command{
		Use:   "clear [ID…]",
		Short: "Take rules away that the admin port has set; without names all of them",
		Long:  "Takes rules away that the admin port has set; without names all of them. Rules of the file or of etcd stay, and so does\na kill switch: `dougong fault kill` ends everything in this process, `dougong fault release` undoes that.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return c.Clear(cmd.Context())
			}
			var faults []error
			for _, id := range ids {
				if err := c.Remove(cmd.Context(), id); err != nil {
					faults = append(faults, err)
				}
			}
			return errors.Join(faults...)
		},
	}
	addAdminFlags(cmd, &c)
	return cmd
}

func newFaultKill(thrown bool) *cobra.Command {
	var c app.FaultClient
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "End every fault of the process at once, whoever set it, until 'dougong fault release'",
		Args:  args(cobra.NoArgs),
	}
	if !thrown {
		cmd.Use, cmd.Short = "release", "Undo 'dougong fault kill': rules that have not expired come back"
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.Kill(cmd.Context(), thrown); err != nil {
			return err
		}
		said := "no fault is in force any more; 'dougong fault release' undoes that"
		if !thrown {
			said = "the kill switch of the admin port is released"
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	}
	addAdminFlags(cmd, &c)
	return cmd
}

// tellRule says what became of a rule that was set, and warns of one that strikes nothing.
func tellRule(cmd *cobra.Command, c app.FaultClient, r fault.RuleStatus) error {
	switch r.State {
	case fault.Active:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is in force until %s at %s\n", r.ID, r.Rule.Expires.Local().Format(time.TimeOnly), strings.Join(r.Points, ", "))
		return err
	case fault.Unmatched:
		hint := ""
		if status, err := c.Status(cmd.Context()); err == nil {
			hint = faultadmin.Unreached(r.Rule, status.Points)
		}
		if hint == "" {
			hint = "there is no such point"
		}
		return fmt.Errorf("%s is set, but strikes nothing: %s\n'dougong fault points' lists what there is, 'dougong fault clear %s' takes it away", r.ID, hint, r.ID)
	}
	return fmt.Errorf("%s is set, but not in force: it is %s", r.ID, r.State)
}
