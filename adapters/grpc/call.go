package grpcmw

import (
	"context"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/ramp"
	"google.golang.org/grpc/metadata"
)

// Call is what is known of a call before its messages are.
type Call struct {
	Target string // of the client's connection, as it was dialled; "" on a server
	Method string // "/package.Service/Method"
	Stream bool
}

// String is target and method.
func (c Call) String() string { return c.Target + c.Method }

// ByMethod is the key of a breaker with a circuit for each target and method.
func ByMethod(_ context.Context, c Call) Call { return c }

// ByTarget is the key of a breaker with a circuit for each target.
func ByTarget(_ context.Context, c Call) string { return c.Target }

// Caller says for whom a call is, which matters while something recovers. The zero Caller lets a share of the calls in
// at random, and believes the mark of anyone.
type Caller struct {
	// Key is that of a user, or of what else shall be let in as a whole and then stay in. "" and nil: at random.
	Key func(context.Context, Call) string

	// Marked reports whether a call is a test, which passes first. nil: whether its metadata, those that came on a
	// server and those that go on a client, have x-ai-test: true. Whoever may send that takes the few places of a
	// test: in front of the public, ask who it is.
	Marked func(context.Context, Call) bool
}

const mark = "x-ai-test"

func (c Caller) marked(ctx context.Context, call Call) bool {
	if c.Marked != nil {
		return c.Marked(ctx, call)
	}
	var values []string
	if call.Target == "" {
		values = metadata.ValueFromIncomingContext(ctx, mark)
	} else if md, ok := metadata.FromOutgoingContext(ctx); ok {
		values = md[mark]
	}
	return values != nil && ramp.Marked(map[string][]string{mark: values})
}

// hash is that of the key, 0 if there is none: then the kit lets chance decide.
func (c Caller) hash(ctx context.Context, call Call) uint64 {
	if c.Key != nil {
		if key := c.Key(ctx, call); key != "" {
			return ramp.HashString(key)
		}
	}
	return 0
}

func (c Caller) ofBreaker(ctx context.Context, call Call) breaker.Call {
	return breaker.Call{Hash: c.hash(ctx, call), Marked: c.marked(ctx, call), Ctx: ctx}
}

func (c Caller) ofRamp(ctx context.Context, call Call) ramp.Call {
	return ramp.Call{Hash: c.hash(ctx, call), Marked: c.marked(ctx, call), Ctx: ctx}
}
