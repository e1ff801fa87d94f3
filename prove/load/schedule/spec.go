package schedule

import (
	"errors"
	"fmt"
	"time"
)

// Duration is a time.Duration that is written as "1.5s" in JSON and YAML.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 250ms, 10s or 1h30m", text)
	}
	*d = Duration(parsed)
	return nil
}

// Spec describes a schedule.
type Spec struct {
	Stages   []Stage `json:"stages" doc:"one after the other"`
	Poisson  bool    `json:"poisson" doc:"random gaps, as of many independent callers, instead of even ones"`
	Recorded string  `json:"recorded" doc:"file with a time a line, in seconds or RFC 3339, instead of stages"`
	Speed    float64 `json:"speed" doc:"how many times as fast recorded times are replayed; 0 counts as 1"`
}

// Stage is a part of a schedule.
type Stage struct {
	Name   string   `json:"name" doc:"shown in reports; empty takes the rate"`
	Length Duration `json:"length"`
	From   float64  `json:"from" doc:"rate at the start, requests a second"`
	To     float64  `json:"to" doc:"rate at the end; changes on a straight line"`
	Swing  float64  `json:"swing" doc:"amplitude of a sine around that line"`
	Period Duration `json:"period" doc:"of the sine"`
}

// Ceilings of a schedule.
const (
	MaxRate     = 1_000_000
	MaxLength   = 24 * time.Hour
	maxStages   = 10_000
	maxRecorded = 10_000_000
)

// Constant is a schedule of one rate, in requests a second.
func Constant(rate float64, length time.Duration) *Spec {
	return &Spec{Stages: []Stage{{Length: Duration(length), From: rate, To: rate}}}
}

// Validate reports every fault of s at once.
func (s *Spec) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Recorded != "" {
		if len(s.Stages) > 0 {
			fault("recorded: a schedule has stages or is recorded, not both")
		}
		if s.Poisson {
			fault("poisson: recorded times are replayed as they are")
		}
	} else if len(s.Stages) == 0 {
		fault("stages: there is none, so nothing would be due")
	}
	if !(s.Speed >= 0 && s.Speed <= 1e6) {
		fault("speed: %v is not between 0 and 1000000", s.Speed)
	}
	if len(s.Stages) > maxStages {
		fault("stages: there are %d; at most %d", len(s.Stages), maxStages)
	}
	var length time.Duration
	for i, stage := range s.Stages {
		at := fmt.Sprintf("stages[%d]", i)
		if stage.Length <= 0 || time.Duration(stage.Length) > MaxLength {
			fault("%s: length: %s is not between 0 and %s", at, stage.Length, MaxLength)
			continue
		}
		length += time.Duration(stage.Length)
		for k, rate := range []float64{stage.From, stage.To} {
			if (k == 0 || rate != stage.From) && !(rate >= 0 && rate <= MaxRate) {
				fault("%s: rate %v is not between 0 and %d requests a second", at, rate, MaxRate)
			}
		}
		switch {
		case stage.Swing == 0 && stage.Period == 0:
		case !(stage.Swing > 0) || stage.Period <= 0:
			fault("%s: a sine needs a swing and a period above 0", at)
		case stage.Swing > min(stage.From, stage.To):
			fault("%s: swing: %v would make the rate negative", at, stage.Swing)
		case max(stage.From, stage.To)+stage.Swing > MaxRate:
			fault("%s: the top of the sine is above %d requests a second", at, MaxRate)
		case time.Duration(stage.Length)/time.Duration(stage.Period) > 100_000:
			fault("%s: period: %s is too short for a stage of %s", at, stage.Period, stage.Length)
		}
	}
	if length > MaxLength {
		fault("stages: %s together; at most %s", length, MaxLength)
	}
	return errors.Join(faults...)
}
