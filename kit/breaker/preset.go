package breaker

import (
	"time"

	"github.com/dougong-io/dougong/kit/ramp"
)

// The names of the presets.
const (
	PresetDefault     = "default"
	PresetConnections = "connections" // dials of one address
	PresetInference   = "inference"   // a model version under much load
	PresetSearch      = "search"      // queries of one type at one upstream
	PresetFlashSale   = "flash-sale"  // stock, payment: what must not be tried in vain
	PresetGateway     = "gateway"     // an upstream of an API gateway
)

// Presets returns the names of the presets.
func Presets() []string {
	return []string{PresetDefault, PresetConnections, PresetInference, PresetSearch, PresetFlashSale, PresetGateway}
}

// Preset returns a policy by its name. The caller may change it.
func Preset(name string) (Policy, bool) {
	p := DefaultPolicy()
	// Levels are such that a key of which half as many calls fail as the threshold says, whatever its traffic, opens
	// less than once a month; search has the one that sees an outage within 60 calls, and keeps that at a third.
	failures := func(above float64, over time.Duration, level float64) Condition {
		return Condition{Of: Failures, Above: above, Over: over, MinRequests: DefaultMinRequests, Level: level}
	}
	every := func(d time.Duration) ramp.Backoff { return ramp.Backoff{First: d, Factor: 1, Most: d} }
	switch name {
	case PresetDefault:
	case PresetConnections: // few are dialled, so few decide; and a host that is back takes them at once
		c := failures(0.5, 10*time.Second, 0.9999)
		c.MinRequests = 5
		p.Conditions = []Condition{c}
		p.Open = ramp.Backoff{First: time.Second, Factor: 2, Most: 30 * time.Second, Jitter: 0.2, Calm: time.Minute}
		p.Successes = 1
		p.ProbeTimeout = 5 * time.Second
	case PresetInference: // opens above 15 % while busy, above half otherwise; comes back by marked calls, then 5 % for a minute
		busy := failures(0.15, 10*time.Second, 0.99999)
		busy.WhileRPS = 5000
		recovery, _ := ramp.Preset(ramp.FirstMinute5Percent)
		p.Conditions = []Condition{busy, failures(0.5, 10*time.Second, 0.999)}
		p.Open, p.Rise = recovery.Backoff, recovery.Schedule
		p.Probes, p.Successes = recovery.Probing.AtOnce, recovery.Probing.Successes
		p.ProbeTimeout, p.MarkedFor = recovery.Probing.Timeout, recovery.Probing.UnmarkedAfter
	case PresetSearch:
		p.Conditions = []Condition{failures(0.3, time.Minute, DefaultLevel)}
		p.Open = every(30 * time.Second)
	case PresetFlashSale:
		c := failures(0.05, 10*time.Second, 0.999999)
		c.MinRequests = 50
		p.Conditions = []Condition{c}
		p.Open = every(10 * time.Second)
		p.ProbeTimeout = 10 * time.Second
	case PresetGateway: // sheds under much load before it opens
		shed := failures(0.12, 10*time.Second, DefaultLevel)
		shed.WhileRPS, shed.Shed = 15_000, &Shed{Full: 0.65, Most: 0.9}
		p.Conditions = []Condition{failures(0.65, 10*time.Second, 0.999), shed}
		p.Open = every(30 * time.Second)
	default:
		return Policy{}, false
	}
	return p, true
}
