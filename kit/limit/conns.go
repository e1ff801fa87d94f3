package limit

import (
	"errors"
	"fmt"
	"time"
)

// ConnConfig is what a [Listener] bounds.
type ConnConfig struct {
	MaxConns     int `json:"max_conns" doc:"Most connections that are open. 0: as many as come."`
	MaxPerClient int `json:"max_per_client" doc:"Most of them from one client. 0: as many as it likes. A proxy, or all behind one router, are one client."`
	IPv4Bits     int `json:"ipv4_bits" doc:"How much of an IPv4 address makes a client. 0: all 32 bits."`
	IPv6Bits     int `json:"ipv6_bits" doc:"How much of an IPv6 address makes a client. 0: 64 bits, which is what one customer has."`

	MinRate int64         `json:"min_rate" unit:"bytes" doc:"Bytes a second below which a client is slow while it owes us bytes or does not take ours. 0: none is."`
	Grace   time.Duration `json:"grace" doc:"For how long a client may be slow before it is closed. Above 0 if min_rate is."`
}

// DefaultConnConfig returns 10,000 connections, from whomever, and closes those that stay below 1 KiB a second for
// 20 seconds.
func DefaultConnConfig() ConnConfig {
	return ConnConfig{MaxConns: 10_000, IPv4Bits: 32, IPv6Bits: 64, MinRate: 1 << 10, Grace: 20 * time.Second}
}

// Validate reports every fault at once.
func (c ConnConfig) Validate() error {
	var faults []error
	within := func(field string, value, most int) {
		if value < 0 || value > most {
			faults = append(faults, fmt.Errorf("%s: must be from 0 to %d, is %d", field, most, value))
		}
	}
	within("max_conns", c.MaxConns, maxPlaces)
	within("max_per_client", c.MaxPerClient, maxPlaces)
	within("ipv4_bits", c.IPv4Bits, 32)
	within("ipv6_bits", c.IPv6Bits, 128)
	if c.MinRate < 0 || c.MinRate > 1<<40 {
		faults = append(faults, fmt.Errorf("min_rate: must be from 0 to %d bytes a second, is %d", int64(1)<<40, c.MinRate))
	}
	if c.Grace < 0 || c.Grace > time.Hour || c.Grace == 0 && c.MinRate > 0 {
		faults = append(faults, fmt.Errorf("grace: must be above 0 and at most 1h, is %v", c.Grace))
	}
	return errors.Join(faults...)
}

// ConnReason says why a connection was refused or closed.
type ConnReason string

// The reasons.
const (
	ConnsFull  ConnReason = "conns_full"  // refused: MaxConns are open, and none of them is slow or idle
	ClientFull ConnReason = "client_full" // refused: MaxPerClient are open from this client, and none of them is idle
	SlowRead   ConnReason = "slow_read"   // closed: it sends what it owes below MinRate
	SlowWrite  ConnReason = "slow_write"  // closed: it takes what it is sent below MinRate
	Idle       ConnReason = "idle"        // closed: it was idle when another needed the place
	Ended      ConnReason = "ended"       // closed by its owner
)

// ConnObserver is told what happens to connections, with no lock held. After Opened comes exactly one Closed.
type ConnObserver interface {
	Opened()
	Refused(reason ConnReason) // ConnsFull or ClientFull
	Closed(reason ConnReason)  // the others
}

// ConnOption injects a collaborator.
type ConnOption func(*Listener)

// WithConnObserver has the listener report what happens.
func WithConnObserver(o ConnObserver) ConnOption { return func(l *Listener) { l.observer = o } }
