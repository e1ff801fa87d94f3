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
	damage          fault.Damage // drawn when the stream began; of what is received its bytes, of both directions the cut
	read            int64        // bytes that were received
}

// way is one direction.
type way struct {
	streams bool // more than one message may pass
	passed  int64
}

func newBroken(j *joints, c Call, sends, receives bool, d fault.Damage) broken {
	return broken{j: j, call: c, sends: way{streams: sends}, receives: way{streams: receives}, damage: d}
}

// cut reports whether no further message may pass in one direction, as long as the rule stands.
func (b *broken) cut(w *way) bool {
	after, cut := b.damage.Cut()
	return cut && w.streams && w.passed >= after
}

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
