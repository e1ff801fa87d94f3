package faultfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/dougong-io/dougong/kit/fault"
)

// Points are those of files. One that is nil is off.
type Points struct {
	// Open is when a file is opened to be read (fault.Fail|fault.Mangle). What damages bytes is drawn here, once,
	// for all reads through what is opened: offsets count from the start of the file, and a file that is truncated
	// is that much smaller for reads, seeks and its Stat. A rule without an offset damages the first bytes read.
	// This holds for as long as the rule stands; then the file that is open is as it is, also in the midst of being
	// read. Who wants one that is damaged from end to end reads it within the life of the rule.
	Open *fault.Point

	Read    *fault.Point // each read of a file (fault.Call)
	Stat    *fault.Point // of a name, or a file (fault.Call)
	ReadDir *fault.Point // (fault.Call)

	// The rest is for a Disk only.

	Create *fault.Point // when a file is opened that need not be there (fault.Call)

	// Write is each write (fault.Bytes), on its own: offsets count from its first byte. What is dropped is reported
	// as written, and leaves a gap, but in a pipe. What is truncated is a short write, [io.ErrShortWrite].
	Write *fault.Point

	// Sync is when what was written is to be made durable (fault.Call|fault.Lose). Dropped, it reports success and
	// was not done. After an error nothing was done either, and what was written is still there to be read: a machine
	// that loses its power is not played. A real disk may have lost it, whatever a later Sync says: to try again
	// means to write again, into another file.
	Sync *fault.Point

	Close  *fault.Point // (fault.Call); the file is closed whatever happens here
	Rename *fault.Point // (fault.Call)
	Remove *fault.Point // (fault.Call)
}

var errShort = fmt.Errorf("faultfs: %w: %w", fault.ErrInjected, io.ErrShortWrite)

// hit passes a point with the name of a file.
func hit(p *fault.Point, op, name string) error {
	if !p.On() {
		return nil
	}
	return failed(op, name, p.Hit(context.Background(), fault.Attr{Key: "name", Value: name}))
}

// damage is hit where bytes pass.
func damage(p *fault.Point, op, name string) (fault.Damage, error) {
	if !p.On() {
		return fault.Damage{}, nil
	}
	d, err := p.Damage(context.Background(), fault.Attr{Key: "name", Value: name})
	return d, failed(op, name, err)
}

func failed(op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case op == "read" && errors.Is(err, io.EOF):
		return io.EOF // which readers compare, and do not unwrap
	default:
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
}
