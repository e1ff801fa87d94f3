package fault

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
	"github.com/dougong-io/dougong/prove/load/script"
)

var (
	anyPort = regexp.MustCompile(`\{port:([a-z0-9_-]{1,32})\}`)
	anySelf = "{self}"
)

// complete copies a plan, fills in what it leaves open, and validates it.
func complete(plan Plan) (*Plan, error) {
	p := &plan
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrPlan, err)
	}
	p.Services, p.Faults = slices.Clone(p.Services), slices.Clone(p.Faults)
	p.Load.Scenarios = slices.Clone(p.Load.Scenarios)
	if p.Seed == 0 {
		p.Seed = rand.Uint64() >> 11 // a number that every reader of JSON reads exactly
	}
	for i := range p.Faults {
		if p.Faults[i].Service == "" {
			p.Faults[i].Service = p.Services[0].Name
		}
	}
	if err := p.expand(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	// A second time, as ports and the like are filled in now.
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrPlan, err)
	}
	lp := p.loadPlan()
	if err := lp.Validate(); err != nil {
		return nil, fmt.Errorf("%w: load: %w", ErrPlan, err)
	}
	return p, nil
}

// expand fills in ports and the path of this program.
func (p *Plan) expand() error {
	ports := map[string]string{}
	var held []net.Listener // until all are drawn, so that no two are the same
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range p.Services { // whoever undoes may stand elsewhere
		if file := p.Services[i].TokenFile; file != "" {
			if p.Services[i].TokenFile, err = filepath.Abs(file); err != nil {
				return err
			}
		}
	}
	var failed error
	fill := func(text string) string {
		return anyPort.ReplaceAllStringFunc(strings.ReplaceAll(text, anySelf, self), func(found string) string {
			name := anyPort.FindStringSubmatch(found)[1]
			if ports[name] == "" {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					failed = err
					return "0"
				}
				held = append(held, l)
				ports[name] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
			}
			return ports[name]
		})
	}
	p.Load.Target = fill(p.Load.Target)
	for i := range p.Services {
		s := &p.Services[i]
		s.Admin = fill(s.Admin)
		s.Command = slices.Clone(s.Command)
		for k := range s.Command {
			s.Command[k] = fill(s.Command[k])
		}
		s.Environment = maps.Clone(s.Environment)
		for name, value := range s.Environment {
			s.Environment[name] = fill(value)
		}
	}
	return failed
}

// loadPlan is the load as prove/load takes it: steady, for as long as the run can take. It is ended before.
func (p *Plan) loadPlan() *load.Plan {
	l := load.DefaultPlan()
	l.Target, l.Protocol, l.AllowRemote = p.Load.Target, p.Load.Protocol, p.AllowRemote
	l.Connections, l.Streams, l.Timeout, l.Drain = p.Load.Connections, p.Load.Streams, p.Load.Timeout, p.Load.Timeout
	l.TLS, l.Rows, l.Scenarios, l.GRPC = p.Load.TLS, p.Load.Rows, p.Load.Scenarios, p.Load.GRPC
	l.LateAfter, l.Seed = p.Load.LateAfter, p.Seed
	length := p.longest()
	l.MaxIntervals = int(length/time.Second) + 2
	l.Open = schedule.Constant(p.Load.Rate, length)
	l.Open.Poisson = p.Load.Poisson
	return &l
}

// marker compiles the checks by which answers of a fallback are known; nil if there are none.
func (l *Load) marker() (func(*script.Answer) bool, error) {
	if len(l.Degraded) == 0 {
		return nil, nil
	}
	var checks []*script.Check
	for _, text := range l.Degraded {
		check, err := script.CompileCheck(text, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: load.degraded: %w", ErrPlan, err)
		}
		checks = append(checks, check)
	}
	return func(a *script.Answer) bool {
		return slices.ContainsFunc(checks, func(c *script.Check) bool { return c.Judge(new(script.Context), a) == nil })
	}, nil
}

// newRun draws a name for a run.
func newRun() string {
	id := rand.Uint64()
	return hex.EncodeToString([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24), byte(id >> 32)})
}

// orders says for each pair whether its on-window comes first, by a coin of its own: that is what the intervals and
// claims of package effect stand on. Neither a drift over the run nor a rhythm of the machine is taken for an effect.
func orders(pairs int, rnd *rand.Rand) []bool {
	first := make([]bool, pairs)
	for i := range first {
		first[i] = rnd.IntN(2) == 0
	}
	return first
}

var secretName = regexp.MustCompile(`(?i)auth|token|key|secret|cookie|session|password|passwd|signature|credential`)

// plainValue is a value of the environment that is no secret whatever its name is: a number, a switch, a time, an address
// of this machine. Others may be, such as the URL of a database with its password.
var plainValue = regexp.MustCompile(`^(|true|false|on|off|yes|no|-?[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|B|KiB|MiB|GiB)?|(127\.0\.0\.1|localhost|\[::1\]):[0-9]+)$`)

const leftOut = "(left out)"

// redacted is the plan for a result: without what only its author should know.
func (p *Plan) redacted(asLoaded *load.Plan) *Plan {
	c := *p
	c.Services = slices.Clone(p.Services)
	for i := range c.Services {
		s := &c.Services[i]
		s.Environment = maps.Clone(s.Environment)
		for name, value := range s.Environment {
			if secretName.MatchString(name) || !plainValue.MatchString(value) {
				s.Environment[name] = leftOut
			}
		}
		s.Command = slices.Clone(s.Command)
		for k, word := range s.Command {
			name, _, hasValue := strings.Cut(word, "=")
			switch {
			case strings.Contains(word, "://") && strings.Contains(word, "@"):
				s.Command[k] = leftOut
			case hasValue && secretName.MatchString(name):
				s.Command[k] = name + "=" + leftOut
			case k > 0 && strings.HasPrefix(s.Command[k-1], "-") && !strings.Contains(s.Command[k-1], "=") && secretName.MatchString(s.Command[k-1]):
				s.Command[k] = leftOut
			}
		}
	}
	if asLoaded != nil { // prove/load has done the same
		c.Load.Target, c.Load.Scenarios = asLoaded.Target, asLoaded.Scenarios
	}
	return &c
}

// waitUntil waits until a time, or until ctx ends, whose error it returns.
func waitUntil(ctx context.Context, at time.Time) error { return pause(ctx, time.Until(at)) }
