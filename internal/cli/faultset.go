package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
	"github.com/dougong-io/dougong/kit/fault"
)

// faultFlags is a rule as a person writes it.
type faultFlags struct {
	rule        fault.Rule
	where       []string
	probability float64

	delay, jitter, delayMin, delayMax time.Duration
	distribution                      string

	fails               bool
	cause               string
	message, grpcStatus string
	httpStatus          int
	retryAfter          time.Duration

	panics, hang, drop, leak bool
	truncate                 int64
	corruptAt, corruptLength int64
	corrupt                  string
	burn, skew               time.Duration
	memory                   int64
	goroutines               int
}

func newFaultSet() *cobra.Command {
	var c app.FaultClient
	var a faultFlags
	cmd := &cobra.Command{
		Use:   "set ID --point POINT --for TIME EFFECT",
		Short: "Set a rule, or replace the one of that name",
		Long: "Sets a rule: where it strikes, whom, how long, and one effect. It ends by itself after --for.\n" +
			"Exit code: 0 it is in force, 1 it is not, or it strikes nothing; 2 the command is wrong.",
		Example: "  dougong fault set slow --point inference.score --where model=loan-mini --delay 50ms --jitter 20ms --for 30s\n" +
			"  dougong fault set broken --point http.request --probability 0.1 --http-status 503 --for 1m\n" +
			"  dougong fault set stuck --point inference.score --count 3 --hang --for 1m",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			a.rule.ID = ids[0]
			rule, err := a.build(cmd)
			if err != nil {
				return usageError{err}
			}
			set, err := c.Put(cmd.Context(), rule)
			if err != nil {
				return beyondCeiling(err)
			}
			return tellRule(cmd, c, set)
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.rule.Point, "point", "", "where: a name of 'dougong fault points', or a pattern with *")
	f.DurationVar(&a.rule.For, "for", 0, "how long")
	f.StringArrayVar(&a.where, "where", nil, "whom: an attribute and its value or pattern, such as model=loan-* (repeatable)")
	f.Float64Var(&a.probability, "probability", 1, "strike this share of them")
	f.Int64Var(&a.rule.Every, "every", 0, "strike each n-th of them")
	f.Int64Var(&a.rule.Skip, "skip", 0, "leave out the first n")
	f.Int64Var(&a.rule.Count, "count", 0, "end after n hits")
	f.DurationVar(&a.delay, "delay", 0, "effect: the call takes so much longer")
	f.DurationVar(&a.jitter, "jitter", 0, "delay: more or less by up to this (normal: the standard deviation)")
	f.StringVar(&a.distribution, "distribution", "", "delay: uniform, normal, exponential or pareto")
	f.DurationVar(&a.delayMin, "delay-min", 0, "delay: at least; effect: with --delay-max alone, uniform between them")
	f.DurationVar(&a.delayMax, "delay-max", 0, "delay: at most")
	f.BoolVar(&a.fails, "error", false, "effect: the call fails; takes no value, see --cause")
	f.StringVar(&a.cause, "cause", "", "effect: error, because of one of "+strings.Join(fault.Causes(), ", "))
	f.StringVar(&a.message, "message", "", "error, panic: what it says")
	f.IntVar(&a.httpStatus, "http-status", 0, "effect: error, with the status to answer")
	f.StringVar(&a.grpcStatus, "grpc-status", "", "effect: error, with the status to answer, such as UNAVAILABLE")
	f.DurationVar(&a.retryAfter, "retry-after", 0, "error: when to try again")
	f.BoolVar(&a.panics, "panic", false, "effect: panic")
	f.BoolVar(&a.hang, "hang", false, "effect: hold the call until its deadline")
	f.BoolVar(&a.drop, "drop", false, "effect: report success and do nothing")
	f.Int64Var(&a.truncate, "truncate", 0, "effect: cut off what comes after n bytes")
	f.StringVar(&a.corrupt, "corrupt", "", "effect: damage bytes: flip, zero or random")
	f.Int64Var(&a.corruptAt, "corrupt-offset", -1, "corrupt: the first damaged byte (default: anywhere)")
	f.Int64Var(&a.corruptLength, "corrupt-length", 1, "corrupt: how many bytes")
	f.DurationVar(&a.burn, "burn", 0, "effect: keep a processor busy for this long")
	f.Int64Var(&a.memory, "memory", 0, "effect: hold n bytes until the rule ends")
	f.BoolVar(&a.leak, "leak", false, "memory: n bytes more at each hit")
	f.IntVar(&a.goroutines, "goroutines", 0, "effect: park n goroutines at each hit")
	f.DurationVar(&a.skew, "skew", 0, "effect: the clock is ahead by this (behind if negative)")
	addAdminFlags(cmd, &c)
	return cmd
}

func (a *faultFlags) build(cmd *cobra.Command) (fault.Rule, error) {
	given := cmd.Flags().Changed
	var faults []error
	r := a.rule
	for _, pair := range a.where {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			faults = append(faults, fmt.Errorf("--where %q: is not ATTRIBUTE=VALUE", pair))
			continue
		}
		if r.Where == nil {
			r.Where = map[string]string{}
		}
		r.Where[key] = value
	}
	if given("probability") {
		r.Probability = &a.probability
	}
	switch {
	case !given("for"):
		faults = append(faults, errors.New("--for: is missing: every rule ends by itself"))
	case r.For <= 0:
		faults = append(faults, fmt.Errorf("--for: %v is not above 0", r.For))
	}
	if given("delay") || given("delay-max") || given("delay-min") {
		r.Delay = &fault.Delay{Fixed: a.delay, Jitter: a.jitter, Distribution: fault.Distribution(a.distribution), Min: a.delayMin, Max: a.delayMax}
	}
	if a.fails || given("cause") || given("http-status") || given("grpc-status") {
		r.Error = &fault.Failure{Cause: a.cause, Message: a.message, HTTPStatus: a.httpStatus, GRPCStatus: a.grpcStatus, RetryAfter: a.retryAfter}
	}
	if a.panics {
		r.Panic = &fault.Panicking{Message: a.message}
	}
	if a.hang {
		r.Hang = &fault.Hang{}
	}
	if a.drop {
		r.Drop = &fault.Drop{}
	}
	if given("truncate") {
		r.Truncate = &fault.Truncate{After: a.truncate}
	}
	if given("corrupt") {
		r.Corrupt = &fault.Corrupt{Length: a.corruptLength, Mode: fault.CorruptMode(a.corrupt)}
		if given("corrupt-offset") {
			r.Corrupt.Offset = &a.corruptAt
		}
	}
	if given("burn") {
		r.Burn = &fault.Burn{CPU: a.burn}
	}
	if given("memory") {
		r.Memory = &fault.Memory{Bytes: a.memory, Leak: a.leak}
	}
	if given("goroutines") {
		r.Goroutines = &fault.Goroutines{Count: a.goroutines}
	}
	if given("skew") {
		r.Skew = &fault.ClockSkew{By: a.skew}
	}
	faults = append(faults, a.strays(given)...)
	if err := r.Validate(); err != nil {
		faults = append(faults, inFlags(err)...)
	}
	return r, errors.Join(faults...)
}

// strays are flags of an effect that was not asked for: what they say would be lost.
func (a *faultFlags) strays(given func(string) bool) (faults []error) {
	for _, of := range []struct {
		effects, flags []string
	}{
		{[]string{"delay", "delay-min", "delay-max"}, []string{"jitter", "distribution"}},
		{[]string{"error", "cause", "http-status", "grpc-status"}, []string{"retry-after"}},
		{[]string{"error", "cause", "http-status", "grpc-status", "panic"}, []string{"message"}},
		{[]string{"corrupt"}, []string{"corrupt-offset", "corrupt-length"}},
		{[]string{"memory"}, []string{"leak"}},
	} {
		asked := false
		for _, effect := range of.effects {
			asked = asked || given(effect)
		}
		for _, flag := range of.flags {
			if given(flag) && !asked {
				faults = append(faults, fmt.Errorf("--%s: goes with --%s", flag, of.effects[0]))
			}
		}
	}
	return faults
}
