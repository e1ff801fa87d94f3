package limit

import (
	"errors"
	"fmt"
	"time"
)

// Reason says why a request was refused.
type Reason string

// The reasons.
const (
	QueueFull    Reason = "queue_full"    // every slot and every place in the queue is taken
	ArrivingFull Reason = "arriving_full" // too many admitted requests have not called Start yet
	TenantFull   Reason = "tenant_full"   // too many of them are this tenant's
	Displaced    Reason = "displaced"     // had a place in the queue and had to give it to another
	Deadline     Reason = "deadline"      // the work could not be done in time any more
	Closed       Reason = "closed"        // Close was called
)

// ErrRejected matches every [RejectedError].
var ErrRejected = errors.New("limit: rejected")

// RejectedError says that a request was refused, and after what time another try makes sense: when those
// who run and wait now should be through. It is 1 s as long as nothing is known of how long they take, and
// at least that for ArrivingFull and TenantFull, since input arrives as slowly as its senders like.
type RejectedError struct {
	Reason     Reason
	RetryAfter time.Duration
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("limit: rejected: %s, retry after %v", e.Reason, e.RetryAfter)
}

// Is reports whether target is [ErrRejected].
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }
