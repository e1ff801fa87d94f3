package inference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/pool"
)

// readBody reads the body, and reserves all the memory that this takes: room that is not filled yet is taken from others
// as well.
func (x *exchange) readBody(body pool.Buffer, held *share, from source) error {
	if !held.take(cap(body.Bytes())) {
		return errNoMemory
	}
	var damage fault.Damage
	if x.service.points.body.On() {
		var err error
		if damage, err = x.strikeBody(); err != nil {
			return err
		}
		if damage.Drop {
			return nil
		}
	}
	for {
		b := body.Bytes()
		if len(b) == cap(b) {
			if !growBody(body, held, roomFor(from.length, len(b))) {
				return errNoMemory
			}
			b = body.Bytes()
		}
		n, err := from.Read(b[len(b):cap(b)])
		body.SetBytes(b[:len(b)+n])
		if err == io.EOF { // not what only wraps it: that is an error, such as a rule orders
			if damage.Any() {
				body.SetBytes(damage.Apply(body.Bytes(), 0))
			}
			return nil
		}
		if err != nil {
			return readError(x.ctx, err)
		}
	}
}

// growBody makes room for n more bytes in a body that is full, or returns false. It reserves them before
// there is the memory, and then what the pool rounds them up by.
func growBody(body pool.Buffer, held *share, n int) bool {
	if !held.take(n) {
		return false
	}
	before := cap(body.Bytes())
	body.Grow(n)
	return held.take(cap(body.Bytes()) - before - n)
}

// roomFor is for how many more bytes of a body there should be room. Of what was announced, which costs its sender
// nothing, 16 KiB are believed at once, and then three times what has arrived.
func roomFor(announced int64, arrived int) int {
	believed := min(announced+1-int64(arrived), int64(max(16<<10, 3*arrived))) // 1: for the read that finds the end
	return int(min(max(believed, int64(arrived)), 1<<20))
}

// readError is the error of a request whose body could not be read because of err, which a rule may have ordered.
func readError(ctx context.Context, err error) error {
	failure := bodyError(ctx, err)
	if errors.Is(err, fault.ErrInjected) {
		return &orderedError{err, failure}
	}
	return failure
}

func bodyError(ctx context.Context, err error) error {
	var tooLarge *http.MaxBytesError
	var bad *badRequest
	switch {
	case late(ctx): // not expired: a body that fails cancels the context as well
		return context.DeadlineExceeded
	case errors.As(err, &bad):
		return bad
	case errors.As(err, &tooLarge):
		return &badRequest{code: CodeBodyTooLarge, status: http.StatusRequestEntityTooLarge,
			msg: fmt.Sprintf("the body is larger than %d bytes; send fewer rows in a request", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &badRequest{code: CodeBodyTimeout, status: http.StatusRequestTimeout, msg: "the body did not arrive in time"}
	default:
		return malformed("the body could not be read: %v", err)
	}
}
