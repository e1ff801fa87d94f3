package pool

import "errors"

// ErrMisuse is what every [MisuseError] is.
var ErrMisuse = errors.New("pool: misuse")

// MisuseError is what misuse panics with.
type MisuseError struct {
	What          string
	Got, Released string // stacks of the lease that was misused; empty without -tags dougong_pooldebug
}

func (e *MisuseError) Error() string {
	text := ErrMisuse.Error() + ": " + e.What
	if e.Got == "" {
		return text + "; -tags dougong_pooldebug tells where from"
	}
	text += "\n\nit was got at:\n" + e.Got
	if e.Released != "" {
		text += "\nit was released at:\n" + e.Released
	}
	return text
}

// Is tells that it is an [ErrMisuse].
func (e *MisuseError) Is(target error) bool { return target == ErrMisuse }

// Leak is a place whose leases were not released.
type Leak struct {
	Stack string // of Get
	Count int
}
