package breaker

import (
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
)

// Reason says why a call was refused.
type Reason string

// The reasons.
const (
	ReasonOpen    Reason = "open"    // the circuit is open
	ReasonProbing Reason = "probing" // as many probes as may be are on their way, or only marked calls may be probes
	ReasonRising  Reason = "rising"  // the key is not among the share that passes yet
	ReasonShed    Reason = "shed"    // a part of the calls is refused, and this was one of them
)

// reason is a Reason as an index.
type reason uint8

const (
	reasonOpen reason = iota
	reasonProbing
	reasonRising
	reasonShed
	reasons
)

var reasonNames = [reasons]Reason{ReasonOpen, ReasonProbing, ReasonRising, ReasonShed}

// ErrRejected matches every [RejectedError].
var ErrRejected = errors.New("breaker: rejected")

// RejectedError says that a call was not made. It is shared between calls: do not change it.
type RejectedError struct {
	Circuit string
	Reason  Reason

	clock *clock.Clock
	until time.Duration // when another try may pass; 0: not known
}

const retryUnknown = time.Second

// RetryAfter is the time after which another try may pass, at least a millisecond; a second if it is not known.
func (e *RejectedError) RetryAfter() time.Duration {
	if e.until == 0 {
		return retryUnknown
	}
	return max(time.Millisecond, e.until-e.clock.Now())
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("breaker: %s: rejected: %s, retry after %v", e.Circuit, e.Reason, e.RetryAfter().Round(time.Millisecond))
}

// Is reports whether target is [ErrRejected].
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }
