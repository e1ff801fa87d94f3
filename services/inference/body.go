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

// readBody reads the body. It reserves what has arrived, not what was announced: an announcement costs its sender
// nothing. The bytes it reserved are the caller's to give back, also on error.
func (s *Service) readBody(body pool.Buffer, r *http.Request) (reserved int64, err error) {
	var damage fault.Damage
	if s.points.body.On() {
		if damage, err = s.strikeBody(r); err != nil {
			return 0, err
		}
		if damage.Drop {
			return 0, nil
		}
	}
	for {
		b := body.Bytes()
		if len(b) == cap(b) {
			body.Grow(roomFor(r.ContentLength, len(b)))
			b = body.Bytes()
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		body.SetBytes(b[:len(b)+n])
		if !s.memory.take(int64(n)) {
			return reserved, errNoMemory
		}
		reserved += int64(n)
		if errors.Is(err, io.EOF) {
			if damage.Any() {
				body.SetBytes(damage.Apply(body.Bytes(), 0))
			}
			return reserved, nil
		}
		if err != nil {
			return reserved, bodyError(r.Context(), err)
		}
	}
}

// roomFor is for how many more bytes of a body there should be room. Of what was announced, which costs its sender
// nothing, 16 KiB are believed at once, and then three times what has arrived.
func roomFor(announced int64, arrived int) int {
	believed := min(announced+1-int64(arrived), int64(max(16<<10, 3*arrived))) // 1: for the read that finds the end
	return int(min(max(believed, int64(arrived)), 1<<20))
}

func bodyError(ctx context.Context, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case late(ctx): // not expired: a body that fails cancels the context as well
		return context.DeadlineExceeded
	case errors.As(err, &tooLarge):
		return &badRequest{code: CodeBodyTooLarge, status: http.StatusRequestEntityTooLarge,
			msg: fmt.Sprintf("the body is larger than %d bytes; send fewer rows in a request", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &badRequest{code: CodeBodyTimeout, status: http.StatusRequestTimeout, msg: "the body did not arrive in time"}
	default:
		return malformed("the body could not be read: %v", err)
	}
}
