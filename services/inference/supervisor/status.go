package supervisor

import "time"

// Status is what people see of a pool.
type Status struct {
	Workers    []WorkerStatus `json:"workers"`
	Waiting    int            `json:"waiting"` // calls that no worker has yet
	Healthy    bool           `json:"healthy"`
	Cause      string         `json:"cause,omitempty"` // why it is not
	Restarts   int64          `json:"restarts"`        // workers that died
	LastEnd    string         `json:"last_end,omitempty"`
	Quarantine []Quarantined  `json:"quarantine,omitempty"`
}

// WorkerStatus is one worker.
type WorkerStatus struct {
	Worker   int           `json:"worker"`
	PID      int           `json:"pid,omitempty"`
	State    string        `json:"state"`
	Engine   string        `json:"engine,omitempty"`
	Age      time.Duration `json:"age_ns"`
	Calls    int64         `json:"calls"`
	InFlight int           `json:"in_flight"`
	Resident int64         `json:"resident_bytes"`
	Native   int64         `json:"native_bytes,omitempty"`
	Device   int64         `json:"device_bytes,omitempty"`
}

// Quarantined is an input that killed two workers.
type Quarantined struct {
	Reference string    `json:"reference"`
	Since     time.Time `json:"since"`
	Cause     string    `json:"cause"`
	Refused   int64     `json:"refused"` // times since then
}

// Status is a picture of the moment.
func (p *Pool) Status() Status {
	why := p.Healthy()
	s := Status{Healthy: why == nil, Quarantine: p.Quarantined()}
	if why != nil {
		s.Cause = why.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Waiting, s.Restarts = len(p.queue)+len(p.alone)-p.left, p.restarts
	if p.ended != nil {
		s.LastEnd = p.ended.Error()
	}
	for _, w := range p.ready {
		line := WorkerStatus{Worker: w.slot, PID: w.proc.pid, Engine: w.engine, Age: time.Since(w.born), Calls: w.calls.Load(), InFlight: w.busy()}
		line.State = "ready"
		if w == p.alonefor {
			line.State = "alone with a call" // that may have killed another
		}
		if pong := w.pong.Load(); pong != nil {
			line.Resident, line.Native, line.Device = pong.RSSBytes, pong.NativeBytes, pong.DeviceBytes
		}
		s.Workers = append(s.Workers, line)
	}
	return s
}
