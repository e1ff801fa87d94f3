package grpcmw

import (
	"sync/atomic"

	"github.com/dougong-io/dougong/kit/fault"
	"google.golang.org/grpc/codes"
)

// broken is a stream that rules may break. Messages that are sent and those that are received may pass at once, each in
// their order.
type broken struct {
	j    *joints
	call Call
	by   atomic.Pointer[refusal] // nil: it is whole

	sends, receives way
	damage          fault.Damage // of the bytes that are received
	read            int64        // of these
}

// way is one direction.
type way struct {
	streams bool  // more than one message may pass
	after   int64 // messages that pass before the stream is cut; -1: all
	passed  int64
}

func newBroken(j *joints, c Call, sends, receives bool, d fault.Damage) broken {
	after, cut := d.Cut()
	if !cut {
		after = -1
	}
	return broken{j: j, call: c, sends: way{sends, after, 0}, receives: way{receives, after, 0}, damage: d}
}

// cut reports whether no further message may pass.
func (w *way) cut() bool { return w.streams && w.after >= 0 && w.passed >= w.after }

// received does to a message what rules say. lost reports that it is none.
func (b *broken) received(m any, d *fault.Damage, stream, receive string) (lost bool, err *refusal) {
	if d.Drop {
		if !b.receives.streams {
			return true, injected(codes.Internal, receive, "the one message was lost")
		}
		return true, nil
	}
	if b.damage.Corrupts() {
		err = mangle(m, stream, func(bytes []byte) []byte {
			b.damage.Apply(bytes, b.read) // in place: what it cuts off are messages, not bytes
			b.read += int64(len(bytes))
			return bytes
		})
	}
	if err == nil && d.Any() {
		err = mangleAll(m, receive, d)
	}
	return false, err
}
