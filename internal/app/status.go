package app

import (
	"runtime"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/internal/grpcserver"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
)

// statusDocument is what /statusz shows.
type statusDocument struct {
	Version      string           `json:"version"`
	State        string           `json:"state"`
	Cause        string           `json:"cause,omitempty"`
	Uptime       string           `json:"uptime"`
	Goroutines   int              `json:"goroutines"`
	Processors   int              `json:"gomaxprocs"`
	HeapBytes    uint64           `json:"go_memory_bytes"`
	Connections  connectionStatus `json:"connections"`
	GRPC         connectionStatus `json:"grpc_connections"`
	InFlight     []string         `json:"requests_in_flight"`
	Services     []serviceStatus  `json:"services"`
	Faults       *faultsStatus    `json:"faults,omitempty"`
	Coordination *etcd.Status     `json:"coordination,omitempty"`
}

// connectionStatus is about a public listener. Clients are known where they are bounded.
type connectionStatus struct {
	Open    int                         `json:"open"`
	Clients int                         `json:"clients"`
	Refused map[limit.ConnReason]uint64 `json:"refused,omitempty"`
	Slow    uint64                      `json:"closed_as_slow"`
}

func connectionsOf(open int, clients limit.ListenerStats) connectionStatus {
	return connectionStatus{
		Open: open, Clients: clients.Clients, Refused: clients.Refused,
		Slow: clients.Closed[limit.SlowRead] + clients.Closed[limit.SlowWrite],
	}
}

type serviceStatus struct {
	Name   string          `json:"name"`
	State  lifecycle.State `json:"state"`
	Cause  string          `json:"cause,omitempty"`
	Since  time.Time       `json:"since"`
	Status any             `json:"status"`
}

// mostInFlight bounds what /statusz lists of the requests in flight.
const mostInFlight = 20

// oldest lists requests and calls together, of which each are the oldest first: what hangs is seen, by whichever
// protocol it came.
func oldest(requests []httpserver.Request, calls []grpcserver.Call) []string {
	lines := make([]string, 0, min(len(requests)+len(calls), mostInFlight))
	for len(lines) < cap(lines) {
		if len(calls) == 0 || len(requests) > 0 && requests[0].Age >= calls[0].Age {
			lines, requests = append(lines, requests[0].String()), requests[1:]
		} else {
			lines, calls = append(lines, calls[0].String()), calls[1:]
		}
	}
	return lines
}

func (a *App) status() statusDocument {
	state, _ := a.ready()
	doc := statusDocument{
		Version: Version(), State: state, Uptime: time.Since(a.started).Round(time.Second).String(),
		Goroutines: runtime.NumGoroutine(), Processors: runtime.GOMAXPROCS(0), HeapBytes: goMemory(),
		InFlight: oldest(a.public.InFlight(), a.grpc.InFlight()), Connections: connectionsOf(a.public.Connections(), a.public.Clients()),
	}
	calls := a.grpc.Clients()
	doc.GRPC = connectionsOf(calls.Open, calls)
	if cause := a.group.Status().Cause; cause != nil {
		doc.Cause = cause.Error()
	}
	for i, s := range a.running {
		status := s.Lifecycle().Status()
		line := serviceStatus{Name: a.names[i], State: status.State, Since: status.Since, Status: s.status()}
		if status.Cause != nil {
			line.Cause = status.Cause.Error()
		}
		doc.Services = append(doc.Services, line)
	}
	doc.Faults = a.faultsStatus()
	if a.coordination != nil {
		status := a.coordination.Status()
		doc.Coordination = &status
	}
	return doc
}

// invariant is one line of /debug/invariants.
type invariant struct {
	Service string `json:"service"`
	Name    string `json:"name"`
	Holds   bool   `json:"holds"`
	Error   string `json:"error,omitempty"`
}

type invariantsDocument struct {
	Hold       bool        `json:"hold"` // all of them
	Invariants []invariant `json:"invariants"`
}

func (a *App) invariants() invariantsDocument {
	doc := invariantsDocument{Hold: true, Invariants: []invariant{}}
	for i, s := range a.running {
		s.Invariants(func(name string, err error) {
			line := invariant{Service: a.names[i], Name: name, Holds: err == nil}
			if err != nil {
				line.Error, doc.Hold = err.Error(), false
			}
			doc.Invariants = append(doc.Invariants, line)
		})
	}
	return doc
}
