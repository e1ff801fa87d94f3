package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dougong-io/dougong/prove/load/grpcdesc"
	"github.com/dougong-io/dougong/prove/load/script"
)

// dialGRPC makes a client connection that keeps one HTTP/2 connection and tries again soon when that is lost.
func dialGRPC(d *dialer) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if d.tls != nil {
		security = credentials.NewTLS(d.tls)
	}
	limit := int(min(d.run.plan.MaxBody, 1<<31-1))
	return grpc.NewClient("passthrough:///"+d.address,
		grpc.WithTransportCredentials(&countedCredentials{security, d}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return d.network.DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A target that is back is to be found at once: what comes meanwhile would be a failure of ours.
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.6, Jitter: 0, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDisableHealthCheck(),
		grpc.WithUserAgent("dougong-load"),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(grpcdesc.Codec()), grpc.MaxCallRecvMsgSize(limit)),
	)
}

// countedCredentials counts connections once they can be used.
type countedCredentials struct {
	credentials.TransportCredentials
	d *dialer
}

func (c *countedCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	began := time.Now()
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err == nil {
		c.d.run.stats.connectedIn(c.d.run.clock.now(), time.Since(began))
	}
	return conn, info, err
}

func (c *countedCredentials) Clone() credentials.TransportCredentials {
	return &countedCredentials{c.TransportCredentials.Clone(), c.d}
}

// learn finds the types of all methods of the plan: in its descriptor set, or by asking the target.
func (r *run) learn(ctx context.Context, d *dialer) error {
	var conn *grpc.ClientConn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	known := map[string]*grpcdesc.Method{}
	for _, step := range r.steps {
		if known[step.method] == nil {
			method, err := func() (*grpcdesc.Method, error) {
				if file := r.plan.GRPC.DescriptorSet; file != "" {
					return grpcdesc.FromFile(file, step.method)
				}
				if conn == nil {
					var err error
					if conn, err = grpc.NewClient("passthrough:///"+d.address, grpc.WithTransportCredentials(plainOrTLS(d)), grpc.WithUserAgent("dougong-load"),
						grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
							return d.network.DialContext(ctx, "tcp", address)
						})); err != nil {
						return nil, err
					}
				}
				return grpcdesc.FromServer(ctx, conn, step.method)
			}()
			if err != nil {
				if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded { // the target's fault, not the plan's
					return fmt.Errorf("%w: %s: %w", ErrTarget, r.target.Host, err)
				}
				return fmt.Errorf("%w: %w", ErrPlan, err)
			}
			if method.ClientStream() {
				return fmt.Errorf("%w: %s takes a stream of requests; unary calls and server streams can be loaded", ErrPlan, step.method)
			}
			known[step.method] = method
		}
		step.grpc = known[step.method]
		if text, ok := step.body.Static(); ok {
			message, err := step.grpc.Encode(orEmpty(text), nil)
			if err != nil {
				return fmt.Errorf("%w: body of %s: %w", ErrPlan, step.method, err)
			}
			step.fixed = message
			if step.fixed == nil {
				step.fixed = []byte{}
			}
		}
	}
	return nil
}

func plainOrTLS(d *dialer) credentials.TransportCredentials {
	if d.tls != nil {
		return credentials.NewTLS(d.tls)
	}
	return insecure.NewCredentials()
}

// orEmpty lets a call without a body send the empty message.
func orEmpty(body []byte) []byte {
	if len(body) == 0 {
		return []byte("{}")
	}
	return body
}

// newGRPC makes the links of the calls of one connection.
func newGRPC(users []*user, d *dialer) []link {
	conn, dialErr := dialGRPC(d)
	links := make([]link, len(users))
	for i, u := range users {
		call := &grpcCall{conn: conn}
		c := newCaller(u, call.exchange)
		if i == 0 {
			c.open = func(ctx context.Context) error {
				if dialErr != nil {
					return dialErr
				}
				return ready(ctx, conn)
			}
			c.close = func() {
				if conn != nil {
					conn.Close()
				}
			}
		}
		links[i] = c
	}
	return links
}

// ready waits until conn is connected.
func ready(ctx context.Context, conn *grpc.ClientConn) error {
	conn.Connect()
	for state := conn.GetState(); state.String() != "READY"; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("gRPC connection is %s: %w", strings.ToLower(state.String()), ctx.Err())
		}
	}
	return nil
}

// grpcCall makes one call at a time.
type grpcCall struct {
	conn *grpc.ClientConn
	body []byte
	in   []byte // the answer
}

func (g *grpcCall) exchange(ctx context.Context, u *user) (o outcome) {
	step := u.current()
	message := step.fixed
	if message == nil {
		g.body = step.body.Append(g.body[:0], &u.vars)
		var err error
		// In memory of its own: after its deadline a call may still lie in the connection's queue.
		if message, err = step.grpc.Encode(orEmpty(g.body), nil); err != nil {
			return outcome{class: ClassLocal, err: fmt.Errorf("rendered body: %w", err)}
		}
	}
	if len(step.headers) > 0 {
		pairs := make([]string, 0, 2*len(step.headers))
		for _, h := range step.headers {
			value := string(h.value.Append(nil, &u.vars))
			if !fieldValue(value) {
				return outcome{class: ClassLocal, err: errField}
			}
			pairs = append(pairs, h.name, value)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	}
	o.out = uint64(len(message))
	u.sent = u.run.clock.now()
	reply := g.in[:0]
	var header metadata.MD
	var err error
	if step.grpc.ServerStream() {
		reply, err = g.stream(ctx, step, message, &o)
	} else {
		var options []grpc.CallOption
		if step.looks {
			options = append(options, grpc.Header(&header))
		}
		err = g.conn.Invoke(ctx, step.grpc.FullName(), message, &reply, options...)
		g.in = reply
		o.in = uint64(len(reply))
	}
	o.end = u.run.clock.now()
	if err != nil {
		if class := classifyGRPC(ctx, err); class != "" {
			o.class, o.err = class, err
			return o
		}
	}
	code := status.Code(err)
	o.status = grpcName(code)
	answer := script.Answer{Status: int(code), StatusName: o.status, Header: func(name string) string {
		if values := header.Get(name); len(values) > 0 {
			return values[0]
		}
		return ""
	}}
	if step.looks && err == nil {
		if answer.Body, err = step.grpc.DecodeJSON(reply); err != nil {
			o.class, o.err = ClassProtocol, err
			return o
		}
	}
	if o.class, o.err = step.judge(u, &answer); o.class == ClassStatus && err != nil {
		o.err = err
	}
	return o
}

// stream makes a call whose answer is a stream, and returns its last message.
func (g *grpcCall) stream(ctx context.Context, step *step, message []byte, o *outcome) (last []byte, err error) {
	stream, err := g.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, step.grpc.FullName())
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(message); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	reply := g.in[:0]
	for {
		if err := stream.RecvMsg(&reply); err != nil {
			if errors.Is(err, io.EOF) {
				return last, nil
			}
			return last, err
		}
		o.in += uint64(len(reply))
		o.messages++
		last, g.in = reply, reply
		if step.expect > 0 && o.messages == uint64(step.expect) {
			return last, nil // the context's end takes the stream down
		}
	}
}

// classifyGRPC tells failures of the connection from answers of the target; "" is an answer. The library says which
// it is only in words.
func classifyGRPC(ctx context.Context, err error) Class {
	s, ok := status.FromError(err)
	if !ok {
		return classify(err)
	}
	text := s.Message()
	switch s.Code() {
	case codes.DeadlineExceeded:
		if ctx.Err() != nil {
			return ClassTimeout
		} // else the target says so, and that is an answer
	case codes.Unavailable:
		switch {
		case strings.Contains(text, "connection refused"), strings.Contains(text, "no route to host"), strings.Contains(text, "no such host"):
			return ClassRefused
		case strings.Contains(text, "too many open files"), strings.Contains(text, "cannot assign requested address"):
			return ClassLocal
		case strings.Contains(text, "authentication handshake failed"):
			return ClassTLS
		case strings.Contains(text, "reset by peer"), strings.Contains(text, "broken pipe"):
			return ClassReset
		case strings.Contains(text, "error reading from server"), strings.Contains(text, "transport is closing"), strings.Contains(text, "connection error"), strings.Contains(text, "closing transport"), strings.Contains(text, "server preface"):
			return ClassClosed
		}
	case codes.Internal, codes.Unknown:
		if strings.Contains(text, "RST_STREAM") || strings.Contains(text, "stream terminated") {
			return ClassReset
		}
		if strings.Contains(text, "unexpected HTTP status code") || strings.Contains(text, "malformed") {
			return ClassProtocol
		}
	case codes.ResourceExhausted:
		if strings.Contains(text, "received message larger than max") {
			return ClassProtocol
		}
	}
	return ""
}

// grpcNames are the codes as the protocol spells them (grpc/grpc, doc/statuscodes.md).
var grpcNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func grpcName(code codes.Code) string {
	if int(code) < len(grpcNames) {
		return grpcNames[code]
	}
	return fmt.Sprintf("CODE_%d", code)
}
