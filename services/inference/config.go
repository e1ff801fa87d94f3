package inference

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// Config says what is served and how much of it at a time.
type Config struct {
	Repository   string `json:"repository" doc:"Where the models are: demo: for the embedded demo, or the path of a folder."`
	DefaultModel string `json:"default_model" doc:"The model that answers a request which names none. Empty: the only model there is, or loan-default of the demo; with several, such a request is refused."`

	Slots          int             `json:"slots" doc:"Predictions that are computed at a time. 0: one fewer than the processors that Go uses, at least 1, so that health and metrics always find one free."`
	Queue          int             `json:"queue" doc:"Requests that wait for a slot before more are refused with 503."`
	Arriving       int             `json:"arriving" doc:"Requests whose body is arriving, before more are refused with 503. A slow sender holds one of these until read_timeout, and nothing else."`
	TenantShare    float64         `json:"tenant_share" doc:"Most of the slots, and of the places for those that arrive, that one tenant may have, 0 to 1, also when the rest are free. A tenant is that of the token, or else a client address: behind a proxy all are one. 0: no bound; tenants take turns all the same."`
	PriorityHeader string          `json:"priority_header" doc:"Name of the header in which a caller may say critical, normal or batch. Empty: none is believed."`
	Adaptive       *limit.Adaptive `json:"adaptive" doc:"Finds the number of slots from how long they are held, beginning with slots. For engines that wait; the tree engine computes, and one slot a processor is what it can use. null: fixed."`

	MaxRows       int   `json:"max_rows" doc:"Most rows in one request."`
	InFlightBytes int64 `json:"in_flight_bytes" unit:"bytes" doc:"Most bytes of memory that request bodies and unsent answers hold at a time, room for what has yet to arrive included, before more are refused with 503."`

	MaxInflatedBytes  int64 `json:"max_inflated_bytes" unit:"bytes" doc:"Largest request body once it is inflated, of those that come with Content-Encoding gzip or deflate; then 413."`
	CompressFromBytes int64 `json:"compress_from_bytes" unit:"bytes" doc:"Answers of the Open Inference Protocol at least this long go out as gzip to callers that accept it. 0: none do."`

	Sample SampleConfig `json:"sample" doc:"Predictions that are logged."`

	Breaker breaker.Policy `json:"breaker" doc:"When a version of a model that fails is no longer called, and how it comes back. Answers that are our fault count as failures, no others."`

	TestHeader string `json:"test_header" doc:"Name of the header by which a caller marks a call as a test (with the value true), which the breaker tries before others. It buys a failing version's few first places, nothing else. Empty: no mark is believed."`

	Workers supervisor.Config `json:"workers" doc:"How the workers are kept of each model that needs some."`
	Engines map[string]Engine `json:"engines" doc:"The programs of workers, by the name of their engine. One that is not here is started as dougong-ENGINE-worker; the engine of .onnx files is onnx."`

	Limits repository.Limits `json:"limits" doc:"Bounds on what is read from the repository."`
}

const (
	// DemoRepository is the value of Config.Repository for the embedded demo.
	DemoRepository = "demo:"
	demoModel      = "loan-default"
)

// DefaultConfig serves the demo.
func DefaultConfig() Config {
	return Config{
		Repository:    DemoRepository,
		Breaker:       defaultBreaker(),
		TestHeader:    "x-ai-test",
		Workers:       supervisor.DefaultConfig(),
		Limits:        repository.DefaultLimits(),
		Queue:         1024,
		Arriving:      4096,
		MaxRows:       16384,
		InFlightBytes: 256 << 20,

		MaxInflatedBytes:  8 << 20,
		CompressFromBytes: 64 << 10,
	}
}

func defaultBreaker() breaker.Policy {
	p, _ := breaker.Preset(breaker.PresetInference)
	return p
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Repository == "" {
		faults = append(faults, errors.New("repository: must be demo: or a folder"))
	}
	if c.Slots < 0 {
		faults = append(faults, fmt.Errorf("slots: must be at least 0, is %d", c.Slots))
	}
	if c.Queue < 0 {
		faults = append(faults, fmt.Errorf("queue: must be at least 0, is %d", c.Queue))
	}
	if c.Arriving < 1 {
		faults = append(faults, fmt.Errorf("arriving: must be at least 1, is %d", c.Arriving))
	}
	if !(c.TenantShare >= 0 && c.TenantShare <= 1) {
		faults = append(faults, fmt.Errorf("tenant_share: must be from 0 to 1, is %v", c.TenantShare))
	}
	if c.Adaptive != nil {
		slots := c.Slots
		if slots == 0 {
			slots = c.Adaptive.Min // whatever it will be is between min and max
		}
		faults = append(faults, faultsOf((limit.Config{Slots: max(1, slots), Adaptive: c.Adaptive}).Validate())...)
	}
	if c.MaxRows < 1 {
		faults = append(faults, fmt.Errorf("max_rows: must be at least 1, is %d", c.MaxRows))
	}
	if c.InFlightBytes < 1 {
		faults = append(faults, fmt.Errorf("in_flight_bytes: must be positive, is %d", c.InFlightBytes))
	}
	if c.MaxInflatedBytes < 1 {
		faults = append(faults, fmt.Errorf("max_inflated_bytes: must be positive, is %d", c.MaxInflatedBytes))
	}
	if c.CompressFromBytes < 0 {
		faults = append(faults, fmt.Errorf("compress_from_bytes: must be at least 0, is %d", c.CompressFromBytes))
	}
	if !(c.Sample.Rate >= 0 && c.Sample.Rate <= 1) {
		faults = append(faults, fmt.Errorf("sample.rate: must be from 0 to 1, is %v", c.Sample.Rate))
	}
	for _, fault := range faultsOf(c.Breaker.Validate()) {
		faults = append(faults, fmt.Errorf("breaker.%w", fault))
	}
	for _, fault := range faultsOf(c.Workers.Validate()) {
		faults = append(faults, fmt.Errorf("workers.%w", fault))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Engines)) {
		for _, fault := range c.Engines[name].validate() {
			faults = append(faults, fmt.Errorf("engines.%s.%w", name, fault))
		}
	}
	return errors.Join(faults...)
}

// faultsOf takes what a Validate reports apart.
func faultsOf(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// limits resolves the slots once: the number of processors that Go uses may change later.
func (c Config) limits() limit.Config {
	l := limit.DefaultConfig()
	l.Slots, l.Queue, l.Arriving = c.Slots, c.Queue, c.Arriving
	l.TenantShare, l.Adaptive = c.TenantShare, c.Adaptive
	if l.Slots == 0 {
		l.Slots = max(1, runtime.GOMAXPROCS(0)-1)
		if l.Adaptive != nil {
			l.Slots = min(max(l.Slots, l.Adaptive.Min), l.Adaptive.Max)
		}
	}
	return l
}

// retryAfter is what a refused caller is told to wait when nothing better is known.
const retryAfter = time.Second
