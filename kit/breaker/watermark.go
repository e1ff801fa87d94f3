package breaker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
)

// WatermarkConfig says when a level, such as the share of memory in use, is too high.
type WatermarkConfig struct {
	Above float64       `json:"above" doc:"The level is too high above this…"`
	For   time.Duration `json:"for" doc:"…for so long without a break."`
	Below float64       `json:"below" doc:"It is good again below this; at most Above, so that it does not flap."`
}

// ModelMemory is the watermark at which models that are not core are unloaded: above 90 % for 30 s, until below
// 80 %.
func ModelMemory() WatermarkConfig {
	return WatermarkConfig{Above: 0.9, For: 30 * time.Second, Below: 0.8}
}

// Validate reports every fault at once.
func (c WatermarkConfig) Validate() error {
	var faults []error
	if c.Above != c.Above || c.Above <= 0 {
		faults = append(faults, fmt.Errorf("above: must be positive, is %v", c.Above))
	}
	if c.For < 0 {
		faults = append(faults, fmt.Errorf("for: must be at least 0s, is %v", c.For))
	}
	if !(c.Below > 0 && c.Below <= c.Above) {
		faults = append(faults, fmt.Errorf("below: must be positive and at most above, is %v", c.Below))
	}
	return errors.Join(faults...)
}

// Watermark is a breaker for a level instead of calls. Whoever measures the level tells it, and acts on the
// answer: refuses work, calls [Circuit.Trip], unloads what can be spared. This type is concurrency safe.
type Watermark struct {
	config WatermarkConfig
	clock  *clock.Clock

	mu      sync.Mutex // guards what follows
	high    bool       // was above at the last measurement
	since   time.Duration
	tripped bool
}

// NewWatermark returns a watermark that has not been reached, or what is wrong with config. c may be nil.
func NewWatermark(config WatermarkConfig, c *clock.Clock) (*Watermark, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("breaker: watermark: %w", err)
	}
	if c == nil {
		c = clock.Exact()
	}
	return &Watermark{config: config, clock: c}, nil
}

// Measured takes a measurement, and reports whether the level is too high now: from the first measurement after
// it was above for as long as it may be, to the first one below.
func (w *Watermark) Measured(level float64) (tooHigh bool) {
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case level > w.config.Above:
		if !w.high {
			w.high, w.since = true, now
		}
		w.tripped = w.tripped || now-w.since >= w.config.For
	case level < w.config.Below:
		w.high, w.tripped = false, false
	default:
		w.high = false
	}
	return w.tripped
}
