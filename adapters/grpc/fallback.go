package grpcmw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// FallbackOptions say which answers are kept, and for what.
type FallbackOptions struct {
	Config fallback.Config // Bytes of 0 is 64 MiB here, of messages as they are on the wire

	// Key names what a request asks for, and reports whether an old answer may be given to it. It must be set:
	// nothing else knows which methods only read, and whose answers are for whom. See [RequestKey].
	Key func(ctx context.Context, c Call, req any) (string, bool)

	// Default answers when nothing is kept. cause is the error of the call. nil: nobody does.
	Default func(ctx context.Context, c Call, req any, cause error) (proto.Message, error)

	Observer fallback.Observer
}

const defaultFallbackBytes = 64 << 20

// Fallback keeps the last good answers to unary calls, and gives copies of them in place of an error that counts as a
// failure, and of a refusal. This type is concurrency safe.
type Fallback struct {
	answers *fallback.Fallback[string, proto.Message]
	key     func(context.Context, Call, any) (string, bool)
}

// NewFallback returns a fallback, or what is wrong with its options.
func NewFallback(o FallbackOptions) (*Fallback, error) {
	if o.Config.Bytes == 0 {
		o.Config.Bytes = defaultFallbackBytes
	}
	opts := []fallback.Option[string, proto.Message]{
		fallback.WithClone[string](proto.Clone),
		fallback.WithSize(func(key string, m proto.Message) int64 { return int64(len(key) + proto.Size(m)) }),
		fallback.WithWhen[string, proto.Message](func(err error) bool { return errors.As(err, new(*worse)) }),
	}
	if o.Observer != nil {
		opts = append(opts, fallback.WithObserver[string, proto.Message](o.Observer))
	}
	if o.Default != nil {
		opts = append(opts, fallback.WithDefault(func(ctx context.Context, _ string, cause error) (proto.Message, error) {
			a := ctx.Value(askedKey{}).(asked)
			return o.Default(ctx, a.call, a.req, bare(cause))
		}))
	}
	f := &Fallback{key: o.Key}
	var err error
	f.answers, err = fallback.New(o.Config, opts...)
	if o.Key == nil {
		err = errors.Join(err, errors.New("key: must be set; see RequestKey"))
	}
	if err != nil {
		return nil, fmt.Errorf("grpcmw: %w", err)
	}
	return f, nil
}

// Snapshot is what the fallback says about itself.
func (f *Fallback) Snapshot() fallback.Snapshot { return f.answers.Snapshot() }

// RequestKey is a Key for methods, such as "/package.Service/Get", whose answers depend on nothing but the request: not
// on who asks.
func RequestKey(methods ...string) func(context.Context, Call, any) (string, bool) {
	methods = slices.Clone(methods)
	return func(_ context.Context, c Call, req any) (string, bool) {
		m, ok := req.(proto.Message)
		if !ok || !slices.Contains(methods, c.Method) {
			return "", false
		}
		b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(append([]byte(c.String()), '\n'), m)
		return string(b), err == nil
	}
}

// Served says where the answer to a unary call came from.
type Served struct {
	Source fallback.Source
	Age    time.Duration // of a cached answer
	Err    error         // that is answered instead
}

// servedBy is a call option that only the interceptor knows.
type servedBy struct {
	grpc.EmptyCallOption
	to *Served
}

// ServedBy has s filled when the call returns. It stays as it is without a [Fallback], and for calls that have no key.
func ServedBy(s *Served) grpc.CallOption { return servedBy{to: s} }

// asked is what a default may know, in its context.
type (
	askedKey struct{}
	asked    struct {
		call Call
		req  any
	}
)

// worse is an error to fall back on.
type worse struct{ error }

func (w *worse) Unwrap() error { return w.error }

// bare is the error of the call, unless a default has added to it.
func bare(err error) error {
	if w, ok := err.(*worse); ok {
		return w.error
	}
	return err
}

func (j *joints) callOrFallBack(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c := Call{Target: cc.Target(), Method: method}
	message, ok := reply.(proto.Message)
	key := ""
	if ok {
		key, ok = j.fallback.key(ctx, c, req)
	}
	if !ok {
		return j.callUnary(ctx, method, req, reply, cc, invoker, opts...)
	}
	result, err := j.fallback.answers.Do(context.WithValue(ctx, askedKey{}, asked{c, req}), key, func(ctx context.Context) (proto.Message, error) {
		err := j.callUnary(ctx, method, req, reply, cc, invoker, opts...)
		if err != nil && (isRejection(err) || j.outcome(err) == breaker.Failure) {
			err = &worse{err}
		}
		return message, err
	})
	for _, opt := range opts {
		if s, ok := opt.(servedBy); ok {
			*s.to = Served{result.Source, result.Age, bare(result.Err)}
		}
	}
	switch {
	case err != nil:
		return bare(err)
	case result.Source != fallback.Primary:
		return replace(message, result.Value)
	}
	return nil
}

// replace makes an answer of one that was kept, or says that a default is of another type.
func replace(reply, by proto.Message) error {
	if want, got := reply.ProtoReflect().Descriptor().FullName(), by.ProtoReflect().Descriptor().FullName(); want != got {
		return fmt.Errorf("grpcmw: fallback: answer is a %s, must be a %s", got, want)
	}
	proto.Reset(reply)
	proto.Merge(reply, by)
	return nil
}
