package ramp

import (
	"errors"
	"fmt"
	"time"
)

// ErrRejected matches every [RejectedError].
var ErrRejected = errors.New("ramp: rejected")

// RejectedError says in which stage a call was refused, and when another try makes sense: in Waiting after the
// wait, in Rising when the schedule lets in this very key, if nothing falls until then. In Testing, which has
// no fixed length, it is a guess.
type RejectedError struct {
	Stage      Stage
	RetryAfter time.Duration
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("ramp: rejected while %s, retry after %v", e.Stage, e.RetryAfter)
}

// Is reports whether target is [ErrRejected].
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }
