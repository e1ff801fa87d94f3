package cli

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
	"github.com/dougong-io/dougong/kit/breaker"
)

func newBreaker() *cobra.Command {
	cmd := &cobra.Command{Use: "breaker", Short: "Look at policies of circuit breakers", Args: args(cobra.NoArgs), RunE: help}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "presets",
			Short: "List the policies that have a name",
			Args:  args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				for _, name := range breaker.Presets() {
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), name); err != nil {
						return err
					}
				}
				return nil
			},
		},
		&cobra.Command{
			Use:     "policy PRESET|FILE",
			Short:   "Print a policy whole as JSON, or say what is wrong with it",
			Example: "  dougong breaker policy search >policy.json\n  dougong breaker policy policy.json",
			Args:    args(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				p, err := app.BreakerPolicy(args[0])
				if err != nil {
					return usageError{err}
				}
				data, err := p.JSON()
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", bytes.TrimSpace(data))
				return err
			},
		},
		newBreakerCurve(),
	)
	return cmd
}

func newBreakerCurve() *cobra.Command {
	var perSecond, failing []float64
	var budget time.Duration
	var seed uint64
	cmd := &cobra.Command{
		Use:   "curve PRESET|FILE",
		Short: "Show what a policy means: how often, or how soon, a circuit opens",
		Long: "Shows the operating curve of a policy. A circuit is simulated at each number of calls a second and each rate\n" +
			"of failures, steady, after a window of good calls. Where it opens, the mean time until it does is shown, and\n" +
			"the calls that it took; where it opens less than once a day, how often it does so in 30 days by mistake. A ≤\n" +
			"is an upper bound where it never opened in the simulation, which takes --budget a line: computed from the\n" +
			"chance of each look at the window, or three in the time that was simulated.",
		Example: "  dougong breaker curve search\n  dougong breaker curve policy.json --rps 0.5,50 --failing 0.2,0.4",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := app.BreakerPolicy(args[0])
			if err != nil {
				return usageError{err}
			}
			if err := curveFlags(perSecond, failing, budget); err != nil {
				return usageError{err}
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s\n", describeConditions(p))
			fmt.Fprintf(out, "%9s %9s   %-22s %s\n", "calls/s", "failing", "opens", "simulated")
			last := 0.0
			return app.BreakerCurve(cmd.Context(), p, perSecond, failing, budget, seed, func(c app.CurveCell) {
				if last != 0 && last != c.PerSecond {
					fmt.Fprintln(out)
				}
				last = c.PerSecond
				fmt.Fprintf(out, "%9s %7.4g %%   %-22s %s\n", strconv.FormatFloat(c.PerSecond, 'g', 6, 64), 100*c.FailureRate, curveWords(c), longTime(c.Simulated))
			})
		},
	}
	cmd.Flags().Float64SliceVar(&perSecond, "rps", []float64{0.5, 2, 10, 1000}, "calls a second")
	cmd.Flags().Float64SliceVar(&failing, "failing", []float64{0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1}, "rates of failure, 0 to 1")
	cmd.Flags().DurationVar(&budget, "budget", 300*time.Millisecond, "how long a line is simulated at most")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "of the random calls")
	return cmd
}

func curveFlags(perSecond, failing []float64, budget time.Duration) error {
	for _, r := range perSecond {
		if !(r > 0 && r <= 1e6) {
			return fmt.Errorf("--rps: must be above 0 and at most 1e6, is %v", r)
		}
	}
	for _, f := range failing {
		if !(f >= 0 && f <= 1) {
			return fmt.Errorf("--failing: must be 0 to 1, is %v", f)
		}
	}
	if budget <= 0 || budget > time.Hour {
		return fmt.Errorf("--budget: must be above 0 and at most 1h, is %v", budget)
	}
	return nil
}

func describeConditions(p breaker.Policy) (text string) {
	if len(p.Conditions) == 0 {
		return "no conditions: it never opens by itself\n"
	}
	for _, c := range p.Conditions {
		what := "opens"
		if c.Shed != nil {
			what = "sheds, which is not shown here,"
		}
		if c.Of == breaker.Slow {
			what += " (which is not shown here: no call is slow)"
		}
		level := strconv.FormatFloat(100*c.Level, 'g', 12, 64)
		text += fmt.Sprintf("%s when the lower bound at %s %% of the rate of %s is above %.4g %%, over at most %v, of %d calls or more", what, level, c.Of, 100*c.Above, c.Over, c.MinRequests)
		if c.WhileRPS > 0 {
			text += fmt.Sprintf(", while more than %.6g a second arrive", c.WhileRPS)
		}
		text += "\n"
	}
	return text
}

func curveWords(c app.CurveCell) string {
	const day = 24 * time.Hour
	switch {
	case c.Opened == 0:
		if c.PerMonthAtMost < 0.001 {
			return "< 0.001 a month"
		}
		return fmt.Sprintf("≤ %.2g a month", c.PerMonthAtMost)
	case c.MeanTime > day:
		return fmt.Sprintf("%.2g a month", 30*day.Seconds()/c.MeanTime.Seconds())
	}
	return fmt.Sprintf("after %s, %.0f calls", longTime(c.MeanTime), c.MeanCalls)
}

// longTime is a duration with three digits in the unit that suits it.
func longTime(d time.Duration) string {
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}} {
		if d >= unit.size {
			return strconv.FormatFloat(float64(d)/float64(unit.size), 'g', 3, 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(d.Seconds()*1000, 'g', 3, 64) + " ms"
}
