package supervisor

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnavailable matches every UnavailableError.
	ErrUnavailable = errors.New("no worker serves the model")
	// ErrQuarantined matches every QuarantinedError.
	ErrQuarantined = errors.New("the input is in quarantine")
	// ErrInput says that the worker found the input to be wrong.
	ErrInput = errors.New("the input does not fit the model")
	// ErrDied says that a worker died under a golden row, which is asked for anew. Other calls go to another worker; where there
	// is none they end as ErrUnavailable.
	ErrDied = errors.New("the worker died")
)

// UnavailableError says that there is no worker, and none came in time.
type UnavailableError struct {
	Model, Version string
	RetryAfter     time.Duration
	Cause          error // of the last worker's end, nil if none has started yet
}

func (e *UnavailableError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("model %s version %s: no worker serves it yet", e.Model, e.Version)
	}
	return fmt.Sprintf("model %s version %s: no worker serves it: %v", e.Model, e.Version, e.Cause)
}

func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }
func (e *UnavailableError) Unwrap() error        { return e.Cause }

// QuarantinedError says that an input killed two workers, now or before.
type QuarantinedError struct {
	Reference string // of the content; the status and the log have it too
	Since     time.Time
}

func (e *QuarantinedError) Error() string {
	return fmt.Sprintf("this input has killed two workers and is not tried again; reference %s", e.Reference)
}

func (e *QuarantinedError) Is(target error) bool { return target == ErrQuarantined }
