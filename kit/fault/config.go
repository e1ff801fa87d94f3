package fault

import (
	"errors"
	"fmt"
	"time"
)

// Config is what a [Set] needs to know.
type Config struct {
	// Sources are the names of those that may set rules, the one whose rules win first: of rules with the same id in
	// several sources the first one's is in force.
	Sources []string
	Ceiling Ceiling
}

// The sources that a dougong process has. What a person does now goes before what is stored.
const (
	Admin = "admin" // the admin port
	Etcd  = "etcd"  // for all processes
	File  = "file"
)

// DefaultConfig has the three sources and the default ceiling.
func DefaultConfig() Config {
	return Config{Sources: []string{Admin, Etcd, File}, Ceiling: DefaultCeiling()}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if len(c.Sources) == 0 {
		faults = append(faults, errors.New("sources: there are none"))
	}
	seen := map[string]bool{}
	for _, name := range c.Sources {
		if err := checkID(name); err != nil {
			faults = append(faults, fmt.Errorf("sources: %w", err))
		}
		if seen[name] {
			faults = append(faults, fmt.Errorf("sources: %q is here twice", name))
		}
		seen[name] = true
	}
	if err := c.Ceiling.Validate(); err != nil {
		faults = append(faults, in("ceiling", err)...)
	}
	return errors.Join(faults...)
}

// Option injects a collaborator.
type Option func(*Set)

// WithObserver has the set report what happens.
func WithObserver(o Observer) Option { return func(s *Set) { s.observer = o } }

// WithRand has the set draw from uniform, which returns numbers in [0, 1) and may be called concurrently. For
// tests that want to replay.
func WithRand(uniform func() float64) Option {
	return func(s *Set) { s.rand.uniform = uniform }
}

// WithTime has the set ask now for the time, against which expiries are held.
func WithTime(now func() time.Time) Option { return func(s *Set) { s.now = now } }
