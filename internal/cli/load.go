package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
	"github.com/dougong-io/dougong/kit/lifecycle"
)

func newLoad() *cobra.Command {
	a := app.LoadArgs{}
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Offer load by a schedule, and judge the target by when requests were due",
		Long: "Offers load to a target and reports rates, latencies and failures. Requests are due by a schedule, whatever the target\n" +
			"does, and latency counts from when a request was due: a stall shows in full. docs/load.md gives the method.\n" +
			"Exit code: 0 every objective held, 1 one did not, or the target could not be reached; 2 the command or a plan is\n" +
			"wrong; 3 no verdict, as the generator itself was late or too little was measured; 130 interrupted, with a report of what ran.",
		Example: "  dougong load http://127.0.0.1:8080/healthz --rate 2000 --for 20s --slo 'p99<50ms' --slo 'errors<0.1%'\n" +
			"  dougong load http://127.0.0.1:8080/v1/predict --rows examples/load/predict.jsonl --steps 200:+200/10s:2000 --report out.html\n" +
			"  dougong load http://127.0.0.1:8080/v1/predict --body '{\"model\":\"loan-mini\",\"input\":[0.1,0.9]}' --search 100:5000 --slo 'p99<50ms'\n" +
			"  dougong load grpc://127.0.0.1:8081 --method grpc.health.v1.Health/Check --rate 500 --for 10s\n" +
			"  dougong load --plan load.yaml",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, targets []string) error {
			if len(targets) == 1 {
				a.Target = targets[0]
			}
			return runLoad(cmd, a)
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.Plan, "plan", "", "YAML file with a whole plan, such as 'dougong load plan' prints; flags go before it")
	f.StringVar(&a.Rate, "rate", "", "constant rate, requests a second")
	f.StringVar(&a.Ramp, "ramp", "", "rate on a straight line, such as 100:2000/30s")
	f.StringVar(&a.Steps, "steps", "", "rate in steps, such as 200:+200/10s:12000")
	f.StringVar(&a.Sine, "sine", "", "rate as a sine, such as 1000:500/1m")
	f.StringVar(&a.Recorded, "recorded", "", "file with a time a line (seconds or RFC 3339), replayed")
	f.Float64Var(&a.Speed, "speed", 0, "how many times as fast --recorded is replayed (default 1)")
	f.DurationVar(&a.Length, "for", 0, "how long, with --rate, --sine and --users (default 10s)")
	f.BoolVar(&a.Poisson, "poisson", false, "random gaps between requests, as of many independent callers, instead of even ones")
	f.IntVar(&a.Users, "users", 0, "closed loop instead: so many users, each waiting for its answer")
	f.DurationVar(&a.Think, "think", 0, "closed loop: pause of a user after each answer")
	f.StringVar(&a.Search, "search", "", "look for the highest rate that holds every --slo, within a range such as 50:5000")
	f.DurationVar(&a.Budget, "budget", 0, "time for --search (default 1m)")

	f.StringVar(&a.Protocol, "protocol", "", "http1, http2, grpc or ws (default: by the URL; https://… is http1)")
	f.IntVarP(&a.Connections, "connections", "c", 0, "connections (default 64, or one a user)")
	f.IntVar(&a.Streams, "streams", 0, "requests at a time on each connection, http2 and grpc (default 1)")
	f.DurationVar(&a.Timeout, "timeout", 0, "after it was due, a request without a whole answer fails (default 5s)")
	f.DurationVar(&a.LateAfter, "late-after", 0, "a second in which the generator itself was later than this is not judged (default 10ms)")
	f.BoolVar(&a.AllowRemote, "allow-remote", false, "load may leave this machine; needs --confirm too")
	f.StringVar(&a.Confirm, "confirm", "", "the remote host that is to bear the load, once more")

	f.StringVarP(&a.Method, "method", "X", "", "HTTP method, or package.Service/Method (default: GET, or POST with a body)")
	f.StringVarP(&a.Body, "body", "d", "", "body template: {{column}}, {{column|json}}, {{row}}, {{seq}}, {{unique}}, …")
	f.StringVar(&a.BodyFile, "body-file", "", "file with the body template")
	f.BoolVar(&a.Binary, "binary", false, "ws: send a binary message")
	f.IntVar(&a.Expect, "expect", 0, "ws: messages that answer one; grpc: end a stream after so many")
	f.StringArrayVarP(&a.Headers, "header", "H", nil, "header field, such as 'x-tenant: {{tenant}}' (repeatable)")
	f.StringArrayVar(&a.Checks, "check", nil, "what must hold of an answer, such as 'status == 200' or 'json $.id == {{id}}' (repeatable)")
	f.StringVar(&a.Rows, "rows", "", "CSV or JSONL file whose columns the templates name; without --body each JSONL line is sent as it is")
	f.StringVar(&a.RowsOrder, "rows-order", "", "sequential, random or once (default sequential)")
	f.StringArrayVar(&a.SLO, "slo", nil, "objective, such as 'p99<50ms', 'errors<0.1%', 'rate>990' (repeatable)")
	f.StringVar(&a.TLS.CA, "ca", "", "PEM file of the authorities to trust")
	f.StringVar(&a.TLS.Cert, "cert", "", "PEM file of the client's certificate")
	f.StringVar(&a.TLS.Key, "key", "", "PEM file of its key")
	f.StringVar(&a.TLS.ServerName, "server-name", "", "name to expect in the target's certificate")
	f.BoolVar(&a.TLS.Insecure, "insecure", false, "accept any certificate")
	f.StringVar(&a.DescriptorSet, "descriptor-set", "", "grpc: file of message types (default: ask the target's reflection service)")
	f.Uint64Var(&a.Seed, "seed", 0, "of random choices (default: drawn, and told in the result)")
	addReportFlags(cmd, &a)
	f.BoolVar(&a.Plain, "plain", false, "a line a second instead of the live view")
	f.BoolVarP(&a.Quiet, "quiet", "q", false, "say nothing while it runs")
	f.IntVar(&a.Processors, "cpus", 0, "processors that the generator may use (default: all)")
	cmd.AddCommand(newLoadReport(), newLoadSchema(), newLoadPlan())
	return cmd
}

func addReportFlags(cmd *cobra.Command, a *app.LoadArgs) {
	onceVar(cmd, &a.HTML, "report", "write an HTML report, one file that needs no network")
	onceVar(cmd, &a.JSON, "json", "write the result as JSON, which 'dougong load schema' describes")
	onceVar(cmd, &a.CSV, "csv", "write a CSV row a second")
	onceVar(cmd, &a.JUnit, "junit", "write JUnit XML, a test an objective")
}

// codeError ends the program with a code of its own.
type codeError struct {
	code int
	err  error
}

func (e codeError) Error() string { return e.err.Error() }
func (e codeError) Unwrap() error { return e.err }

func runLoad(cmd *cobra.Command, a app.LoadArgs) error {
	var cleanup app.LoadCleanup
	ctx, stop := lifecycle.Signals(context.Background(), func(code int) {
		cleanup.Run()
		os.Exit(code)
	})
	defer stop()
	out, ok := cmd.OutOrStdout().(*os.File)
	if !ok {
		return errors.New("load: standard output is no file")
	}
	verdict, err := app.Load(ctx, a, out, &cleanup)
	switch {
	case errors.Is(err, app.ErrLoadArgs):
		return usageError{err}
	case err != nil:
		return err
	}
	if verdict.Verdict == app.VerdictInconclusive { // "the notes say why", and --quiet has kept them back
		for _, note := range verdict.Notes {
			fmt.Fprintln(cmd.ErrOrStderr(), "dougong: "+note)
		}
	}
	switch {
	case verdict.Interrupted:
		return codeError{exitInterrupted, errors.New("interrupted; the reports cover what ran")}
	}
	return judged(verdict.Verdict)
}

func judged(verdict app.Verdict) error {
	switch verdict {
	case app.VerdictFail:
		return codeError{exitFailure, errors.New("an objective did not hold")}
	case app.VerdictInconclusive:
		return codeError{exitInconclusive, errors.New("no verdict; the notes say why")}
	}
	return nil
}

func newLoadReport() *cobra.Command {
	var a app.LoadArgs
	cmd := &cobra.Command{
		Use:     "report RESULT.json",
		Short:   "Write reports from a result that was kept as JSON",
		Example: "  dougong load report result.json --report out.html --csv out.csv",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, files []string) error {
			if a.HTML == "" && a.JSON == "" && a.CSV == "" && a.JUnit == "" {
				return usageError{errors.New("nothing to write: give --report, --csv, --junit or --json")}
			}
			if err := app.RenderLoad(files[0], a); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	addReportFlags(cmd, &a)
	return cmd
}

func newLoadSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of results",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(app.LoadSchema())
			return err
		},
	}
}

func newLoadPlan() *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Print a plan with every field and its meaning",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.PrintLoadPlan(cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("plan: %w", err)
			}
			return nil
		},
	}
}
