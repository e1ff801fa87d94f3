package fault

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/loopback"
	"github.com/dougong-io/dougong/prove/load/script"
)

// ErrPlan is wrapped by every error that says that a plan cannot be carried out: nothing was changed.
var ErrPlan = errors.New("the plan cannot be carried out")

// Validate reports every fault that can be seen without reading files or talking to anybody.
func (p *Plan) Validate() error {
	v := &validator{}
	services := p.validateServices(v)
	if len(p.Services) > 0 {
		services[""] = &p.Services[0] // of faults that name none
	}
	p.validateTimes(v)
	p.validateLoad(v)
	if len(p.Faults) == 0 && !p.Control {
		v.fault("faults", "there is none, and no control")
	}
	if len(p.Faults) > maxFaults {
		v.fault("faults", "there are %d; at most %d", len(p.Faults), maxFaults)
	}
	names := map[string]bool{controlName: p.Control}
	for i := range p.Faults {
		f := &p.Faults[i]
		at := fmt.Sprintf("faults[%d]", i)
		v.name(at+".name", f.Name)
		if names[f.Name] {
			v.fault(at+".name", "%q is taken", f.Name)
		}
		names[f.Name] = true
		f.validate(v, at, services)
	}
	return errors.Join(v.faults...)
}

type validator struct{ faults []error }

func (v *validator) fault(field, format string, args ...any) {
	v.faults = append(v.faults, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
}

const maxName = 80

func (v *validator) name(field, name string) {
	switch {
	case name == "":
		v.fault(field, "is missing")
	case utf8.RuneCountInString(name) > maxName:
		v.fault(field, "has %d letters; at most %d", utf8.RuneCountInString(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		v.fault(field, "%q is no printable text", name)
	}
}

func (v *validator) between(field string, d, least, most time.Duration) {
	if d < least || d > most {
		v.fault(field, "%s is not between %s and %s", d, least, most)
	}
}

func (p *Plan) validateTimes(v *validator) {
	v.between("warmup", time.Duration(p.Warmup), time.Second, time.Hour)
	v.between("window", time.Duration(p.Window), minWindow, time.Hour)
	v.between("guard", time.Duration(p.Guard), 0, time.Hour)
	v.between("recover", time.Duration(p.Recover), time.Second, time.Hour)
	if p.Pairs < minPairs || p.Pairs > maxPairs {
		v.fault("pairs", "%d is not between %d and %d", p.Pairs, minPairs, maxPairs)
	} else if p.Window <= Duration(time.Hour) && p.Guard <= Duration(time.Hour) && len(p.Faults) <= maxFaults && p.longest() > maxLength {
		v.fault("pairs", "the run could take %s; at most %s", p.longest().Round(time.Minute), maxLength)
	}
}

// longest is how long a run takes in which everything recovers at the last moment.
func (p *Plan) longest() time.Duration {
	rows := len(p.Faults)
	if p.Control {
		rows++
	}
	tries := rows * (p.Pairs + (p.Pairs+1)/2) // with pairs that are made up for
	start := time.Duration(0)
	for i := range p.Services {
		start = max(start, or(time.Duration(p.Services[i].Start), defaultStart))
	}
	return time.Duration(p.Warmup) + time.Duration(tries)*(p.pair()+time.Duration(p.Recover)+start+3*adminPatience) + time.Duration(rows)*(2*time.Duration(p.Recover)+lateKnown) + time.Minute
}

func (p *Plan) validateServices(v *validator) map[string]*Service {
	if len(p.Services) == 0 {
		v.fault("services", "there is none; name at least that which is asked")
	}
	if len(p.Services) > maxServices {
		v.fault("services", "there are %d; at most %d", len(p.Services), maxServices)
	}
	byName := map[string]*Service{}
	for i := range p.Services {
		s := &p.Services[i]
		at := fmt.Sprintf("services[%d]", i)
		v.name(at+".name", s.Name)
		if strings.ContainsAny(s.Name, "/\x00") {
			v.fault(at+".name", "%q has a slash", s.Name)
		}
		if byName[s.Name] != nil {
			v.fault(at+".name", "%q is taken", s.Name)
		}
		byName[s.Name] = s
		if err := p.checkURL(s.Admin, "http", "https"); err != nil {
			v.fault(at+".admin", "%w", err)
		} else if host := overHTTP(s.Admin); s.TokenFile != "" && host != "" && !s.PlainToken {
			v.fault(at+".admin", "the token would go to %s over http, for whoever is on the way to read; use https, or allow it with plain_token: true", host)
		}
		for _, d := range []struct {
			name string
			d    Duration
		}{{"start", s.Start}, {"stop", s.Stop}, {"restart_delay", s.RestartDelay}} {
			v.between(at+"."+d.name, time.Duration(d.d), 0, 10*time.Minute)
		}
		if len(s.Command) > 0 && !processFaults {
			v.fault(at+".command", "%w", errNoProcesses)
		}
		for i, word := range slices.Concat(s.Command, []string{s.Dir}) {
			if strings.ContainsRune(word, 0) || i == 0 && len(s.Command) > 0 && word == "" {
				v.fault(at+".command", "%q is no word of a command", word)
			}
		}
		for name, value := range s.Environment {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) || name == markVariable {
				v.fault(at+".environment", "%q cannot be set", name)
			}
		}
	}
	return byName
}

// checkURL lets through what is on this machine, or was allowed by name. Texts with {port:…} are on it.
func (p *Plan) checkURL(text string, schemes ...string) error {
	if text == "" {
		return errors.New("is missing")
	}
	u, err := url.Parse(anyPort.ReplaceAllString(text, "1"))
	if err != nil {
		return errors.New("is no URL")
	}
	ok := false
	for _, s := range schemes {
		ok = ok || u.Scheme == s
	}
	if !ok || u.Host == "" {
		return fmt.Errorf("%q is no URL of %s", text, strings.Join(schemes, " or "))
	}
	if u.User != nil {
		return errors.New("holds a password; use token_file")
	}
	if host := u.Hostname(); !loopback.Host(host) && !strings.EqualFold(host, p.AllowRemote) {
		return fmt.Errorf("%s is not this machine; name it in allow_remote if it may be hurt", host)
	}
	return nil
}

// overHTTP is the host of another machine that a URL speaks to without encryption; "" if it does not.
func overHTTP(text string) string {
	u, err := url.Parse(anyPort.ReplaceAllString(text, "1"))
	if err != nil || u.Scheme != "http" || loopback.Host(u.Hostname()) {
		return ""
	}
	return u.Hostname()
}

func (p *Plan) validateLoad(v *validator) {
	l := &p.Load
	err := p.checkURL(l.Target, "http", "https", "ws", "wss", "grpc", "grpcs")
	if err != nil {
		v.fault("load.target", "%w", err)
	}
	p.validateAsLoaded(v, err == nil)
	if !(l.Rate >= 1 && l.Rate <= maxRate) {
		v.fault("load.rate", "%v is not between 1 and %d requests a second", l.Rate, maxRate)
	}
	for i, text := range l.Degraded {
		if _, err := script.CompileCheck(text, nil, nil); err != nil {
			v.fault(fmt.Sprintf("load.degraded[%d]", i), "%w", err)
		}
	}
	if l.Rows.Order == "once" {
		v.fault("load.rows", "order: a run must not end with its rows")
	}
	v.between("load.timeout", time.Duration(l.Timeout), time.Millisecond, time.Minute)
	if l.LateAfter <= 0 {
		v.fault("load.late_after", "%s is not above 0", l.LateAfter)
	}
	if l.Connections < 1 || l.Connections > 10_000 {
		v.fault("load.connections", "%d is not between 1 and 10000", l.Connections)
	}
}

// validateAsLoaded reports what prove/load finds wrong with what is its own.
func (p *Plan) validateAsLoaded(v *validator, target bool) {
	lp := p.loadPlan()
	lp.Target = anyPort.ReplaceAllString(lp.Target, "1")
	for _, err := range leaves(lp.Validate()) {
		field, _, _ := strings.Cut(err.Error(), ":")
		part, _, _ := strings.Cut(field, "[")
		if part == "scenarios" || part == "streams" || part == "rows" || part == "target" && target {
			v.faults = append(v.faults, fmt.Errorf("load.%w", err))
		}
	}
}

// leaves takes joined errors apart.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, leaves(err)...)
	}
	return all
}

// errNoProcesses is why a plan cannot have processes on some systems.
var errNoProcesses = errors.New("this system does not tell processes apart safely; plans start processes on Linux only")

// maxProcessors bounds a quota; above it would be none.
const maxProcessors = 4096

func (f *Fault) validate(v *validator, at string, services map[string]*Service) {
	kinds := f.kinds()
	switch len(kinds) {
	case 0:
		v.fault(at, "does nothing; give one of rule, kill, stop, restart, cpu, memory")
		return
	case 1:
	default:
		v.fault(at, "does %d things; give each a fault of its own", len(kinds))
		return
	}
	service := services[f.Service]
	switch {
	case service == nil:
		v.fault(at+".service", "%q is none of the services", f.Service)
	case kinds[0] != KindRule && len(service.Command) == 0:
		field := at + ".service"
		if f.Service == "" {
			field = at
		}
		v.fault(field, "the plan does not start %s, so it cannot be hurt by %s", service.Name, kinds[0])
	}
	if f.CPU != 0 && !(f.CPU >= 0.01 && f.CPU <= maxProcessors && !math.IsNaN(f.CPU)) {
		v.fault(at+".cpu", "%v is not between 0.01 and %d processors", f.CPU, maxProcessors)
	}
	const least = 1 << 20
	if f.Memory != 0 && f.Memory < least {
		v.fault(at+".memory", "%d bytes are less than 1 MiB", f.Memory)
	}
	if f.Rule != nil {
		r := inject.Rule(*f.Rule)
		if r.ID != "" || !r.Expires.IsZero() || r.For != 0 {
			v.fault(at+".rule", "leave out id, expires and for: the run sets them")
		}
		r.ID, r.Expires, r.For = "x", time.Time{}, time.Second
		if err := r.Validate(); err != nil {
			v.joined(at+".rule", err)
		}
	}
}

// joined reports the faults in err, each below a field.
func (v *validator) joined(field string, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		v.faults = append(v.faults, fmt.Errorf("%s.%w", field, err))
		return
	}
	for _, err := range joined.Unwrap() {
		v.faults = append(v.faults, fmt.Errorf("%s.%w", field, err))
	}
}
