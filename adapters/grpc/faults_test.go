package grpcmw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// struck is a client and a server with joints and points of their own.
type struck struct {
	*grpc.ClientConn
	faults         *fault.Set
	client, server *joined
}

// echo answers messages with themselves, and ends with the client.
func echo(s *stream) error {
	for {
		text, err := s.receive()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.send(text); err != nil {
			return err
		}
	}
}

func strikable(t *testing.T, stream func(*stream) error) *struck {
	t.Helper()
	return strikableBy(t, faulttest.New(t), stream)
}

func strikableBy(t *testing.T, faults *fault.Set, stream func(*stream) error) *struck {
	t.Helper()
	s := &struck{faults: faults}
	s.client, s.server = newJoints(t, breaker.DefaultPolicy(), WithFaults(s.faults)), newJoints(t, breaker.DefaultPolicy(), WithFaults(s.faults))
	s.ClientConn = serving(t, handlers{unary: (&flaky{}).unary, stream: stream}, s.server.server(), s.client.client()...)
	return s
}

// talk sends texts on a stream of echoes and returns the answers, and the error that ended it.
func (s *struck) talk(ctx context.Context, texts ...string) (answers []string, err error) {
	c, err := s.NewStream(ctx, bidi, bidiMethod)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		if err := c.SendMsg(wrapperspb.String(text)); err != nil {
			break // RecvMsg says why
		}
	}
	_ = c.CloseSend()
	for {
		text, err := receive(c.RecvMsg)
		if err == io.EOF {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		answers = append(answers, text)
	}
}

// idle checks that nothing is held any more.
func (s *struck) idle(t *testing.T) {
	t.Helper()
	for name, j := range map[string]*joined{"client": s.client, "server": s.server} {
		eventually(t, "no place is taken at the "+name, func() bool { return j.limit.Stats().Admitted == 0 })
	}
}

// TestEveryPointIsTripped strikes each point by name and looks at what comes of it.
func TestEveryPointIsTripped(t *testing.T) {
	fails := func(t *testing.T, err error) {
		t.Helper()
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "injected fault") {
			t.Errorf("got %v, want UNAVAILABLE that says it was injected", err)
		}
	}
	said := func(t *testing.T, got []string, want string) {
		t.Helper()
		if strings.Join(got, " ") != want {
			t.Errorf("answers are %q, want %q", got, want)
		}
	}
	var cases []faultrules.Case
	for _, c := range []struct {
		point, effect string
		check         func(*testing.T, *struck)
	}{
		{"grpc.client.unary", `"error":{}`, func(t *testing.T, s *struck) {
			_, err := call(t.Context(), s.ClientConn, "x")
			fails(t, err)
			if !errors.Is(err, fault.ErrInjected) {
				t.Error("is not ErrInjected")
			}
			s.client.check(t, oneFailure)
			if n := len(s.server.group.Snapshot().Circuits); n != 0 {
				t.Error("the call was sent")
			}
		}},
		{"grpc.client.unary", `"corrupt":{"offset":3}`, func(t *testing.T, s *struck) { // tag, length, then "x!"
			if got, err := call(t.Context(), s.ClientConn, "x"); status.Code(err) != codes.Internal {
				t.Errorf("%q, %v: the flipped byte is no UTF-8, want INTERNAL", got, err)
			}
			s.client.check(t, oneFailure)
		}},
		{"grpc.client.unary", `"truncate":{"after":0}`, func(t *testing.T, s *struck) {
			if got, err := call(t.Context(), s.ClientConn, "x"); got != "" || err != nil { // no byte is a message too
				t.Errorf("%q, %v", got, err)
			}
		}},
		{"grpc.client.stream", `"error":{}`, func(t *testing.T, s *struck) {
			_, err := s.talk(t.Context(), "a")
			fails(t, err)
			s.client.check(t, oneFailure)
		}},
		{"grpc.client.stream", `"truncate":{"after":2}`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "a b") // no message was to come after them
			if err != nil {
				t.Error(err)
			}
			s.client.check(t, oneSuccess)
		}},
		{"grpc.client.stream", `"truncate":{"after":1}`, func(t *testing.T, s *struck) {
			_, err := s.talk(t.Context(), "a", "b")
			fails(t, err)
			s.client.check(t, oneFailure)
		}},
		{"grpc.client.stream", `"corrupt":{"offset":5,"mode":"zero"}`, func(t *testing.T, s *struck) { // the third byte of the second message
			got, err := s.talk(t.Context(), "a", "b", "c")
			said(t, got, "a \x00 c")
			if err != nil {
				t.Error(err)
			}
		}},
		{"grpc.client.send", `"error":{},"skip":1`, func(t *testing.T, s *struck) {
			_, err := s.talk(t.Context(), "a", "b")
			fails(t, err)
			s.client.check(t, oneFailure)
		}},
		{"grpc.client.send", `"drop":{},"skip":1,"count":1`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b", "c")
			said(t, got, "a c")
			if err != nil {
				t.Error(err)
			}
		}},
		{"grpc.client.receive", `"error":{"grpc_status":"DATA_LOSS"},"skip":1`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "a")
			if status.Code(err) != codes.DataLoss {
				t.Error(err)
			}
			s.client.check(t, oneFailure)
		}},
		{"grpc.client.receive", `"drop":{},"count":1`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "b")
			if err != nil {
				t.Error(err)
			}
		}},
		{"grpc.client.receive", `"corrupt":{"offset":2,"mode":"zero"},"every":2`, func(t *testing.T, s *struck) {
			got, _ := s.talk(t.Context(), "a", "b", "c")
			said(t, got, "\x00 b \x00")
		}},
		{"grpc.client.receive", `"truncate":{"after":2}`, func(t *testing.T, s *struck) {
			_, err := s.talk(t.Context(), "a")
			if status.Code(err) != codes.Internal {
				t.Errorf("%v, want INTERNAL: a message that is cut short cannot be read", err)
			}
		}},
		{"grpc.server.unary", `"error":{}`, func(t *testing.T, s *struck) {
			_, err := call(t.Context(), s.ClientConn, "x")
			fails(t, err)
			s.server.check(t, oneFailure)
			s.client.check(t, oneFailure)
		}},
		{"grpc.server.unary", `"corrupt":{"offset":2,"mode":"zero"}`, func(t *testing.T, s *struck) {
			if got, err := call(t.Context(), s.ClientConn, "xy"); got != "\x00y!" || err != nil {
				t.Errorf("%q, %v: the handler had another request", got, err)
			}
		}},
		{"grpc.server.stream", `"error":{}`, func(t *testing.T, s *struck) {
			_, err := s.talk(t.Context(), "a")
			fails(t, err)
			s.server.check(t, oneFailure)
		}},
		{"grpc.server.stream", `"truncate":{"after":1}`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "a")
			fails(t, err)
			s.server.check(t, oneFailure)
			s.client.check(t, oneFailure)
		}},
		{"grpc.server.send", `"error":{},"skip":1`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "a")
			fails(t, err)
		}},
		{"grpc.server.send", `"drop":{},"count":1`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "b")
			if err != nil {
				t.Error(err)
			}
		}},
		{"grpc.server.receive", `"error":{"cause":"timeout"}`, func(t *testing.T, s *struck) {
			_, err := s.talk(t.Context(), "a")
			if status.Code(err) != codes.DeadlineExceeded {
				t.Error(err)
			}
			s.server.check(t, oneFailure)
		}},
		{"grpc.server.receive", `"drop":{},"count":1`, func(t *testing.T, s *struck) {
			got, err := s.talk(t.Context(), "a", "b")
			said(t, got, "b")
			if err != nil {
				t.Error(err)
			}
		}},
		{"grpc.server.receive", `"corrupt":{"offset":2,"mode":"zero"},"count":1`, func(t *testing.T, s *struck) {
			got, _ := s.talk(t.Context(), "a", "b")
			said(t, got, "\x00 b")
		}},
	} {
		cases = append(cases, faultrules.Case{Point: c.point, Effect: c.effect, Check: func(t *testing.T, set *fault.Set) {
			noMoreGoroutines(t)
			s := strikableBy(t, set, echo)
			c.check(t, s)
			s.idle(t)
		}})
	}
	faultrules.Trip(t, cases)
}

// TestPanicAndHangLeaveNothingBehind strikes each point with the rules that nothing can be done about, then uses it.
func TestPanicAndHangLeaveNothingBehind(t *testing.T) {
	use := func(ctx context.Context, s *struck) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = p.(error)
			}
		}()
		if _, err := call(ctx, s.ClientConn, "x"); err != nil {
			return err
		}
		_, err = s.talk(ctx, "a", "b")
		return err
	}
	for _, p := range strikable(t, echo).faults.Status().Points {
		t.Run(p.Name, func(t *testing.T) {
			noMoreGoroutines(t)
			s := strikable(t, echo)
			faultrules.Put(t, s.faults, `{"point":"`+p.Name+`","panic":{}}`)
			if err := use(t.Context(), s); err == nil {
				t.Error("no panic")
			}
			s.idle(t)

			faultrules.Put(t, s.faults, `{"point":"`+p.Name+`","hang":{}}`)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := use(ctx, s); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("hung: %v, want DEADLINE_EXCEEDED", err)
			}
			s.idle(t)

			ended := make(chan error)
			before := faulttest.Hits(s.faults, p.Name)
			go func() { ended <- use(t.Context(), s) }()
			eventually(t, "the call hangs", func() bool { return faulttest.Hits(s.faults, p.Name) > before })
			faultrules.Put(t, s.faults) // no rules
			if err := <-ended; err != nil {
				t.Errorf("let go: %v", err)
			}
			s.idle(t)
		})
	}
}

func TestInjectedErrorHasTheStatusOfItsCause(t *testing.T) {
	for _, c := range []struct {
		rule string
		want codes.Code
	}{
		{`{}`, codes.Unavailable},
		{`{"cause":"timeout"}`, codes.DeadlineExceeded},
		{`{"cause":"deadline_exceeded"}`, codes.DeadlineExceeded},
		{`{"cause":"canceled"}`, codes.Canceled},
		{`{"cause":"refused"}`, codes.Unavailable},
		{`{"cause":"reset"}`, codes.Unavailable},
		{`{"cause":"eof"}`, codes.Unavailable},
		{`{"cause":"no_space"}`, codes.ResourceExhausted},
		{`{"cause":"not_exist"}`, codes.NotFound},
		{`{"cause":"permission"}`, codes.PermissionDenied},
		{`{"cause":"io"}`, codes.Internal},
		{`{"cause":"timeout","grpc_status":"ABORTED"}`, codes.Aborted},
		{`{"http_status":404}`, codes.Unavailable}, // is no business of gRPC
	} {
		for _, point := range []string{"grpc.client.unary", "grpc.server.unary"} {
			t.Run(point+c.rule, func(t *testing.T) {
				s := strikable(t, echo)
				faultrules.Put(t, s.faults, `{"point":"`+point+`","error":`+c.rule+`}`)
				_, err := call(t.Context(), s.ClientConn, "x")
				if status.Code(err) != c.want {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if _, isFault := errors.AsType[*fault.Error](err); isFault != strings.Contains(point, "client") {
					t.Errorf("in the chain is a *fault.Error: %v", isFault)
				}
				want := breaker.Counts{}
				switch OutcomeOf(status.Error(c.want, "")) {
				case breaker.Success:
					want = oneSuccess
				case breaker.Failure:
					want = oneFailure
				default:
					want = oneIgnored
				}
				s.client.check(t, want)
			})
		}
	}
}

func TestInjectedErrorSaysWhenToComeBack(t *testing.T) {
	for _, point := range []string{"grpc.client.unary", "grpc.server.unary", "grpc.server.stream", "grpc.server.receive"} {
		s := strikable(t, echo)
		faultrules.Put(t, s.faults, `{"point":"`+point+`","error":{"retry_after":"1500ms"}}`)
		var err error
		var trailer metadata.MD
		if strings.HasSuffix(point, "unary") {
			_, err = call(t.Context(), s.ClientConn, "x", grpc.Trailer(&trailer))
		} else {
			c, errOpen := s.NewStream(t.Context(), bidi, bidiMethod)
			if errOpen != nil {
				t.Fatal(errOpen)
			}
			_ = c.SendMsg(wrapperspb.String("x"))
			_, err = receive(c.RecvMsg)
			trailer = c.Trailer()
		}
		details := status.Convert(err).Details()
		if len(details) != 1 || details[0].(*errdetails.RetryInfo).RetryDelay.AsDuration() != 1500*time.Millisecond {
			t.Errorf("%s: %v has details %v", point, err, details)
		}
		if pushed := trailer.Get("grpc-retry-pushback-ms"); strings.Contains(point, "server") != (len(pushed) == 1) {
			t.Errorf("%s: trailer %v", point, trailer)
		}
	}
}

// TestStreamIsCutAfterSoManyMessages on its way there, on its way back, and at once.
func TestStreamIsCutAfterSoManyMessages(t *testing.T) {
	three := func(s *stream) error {
		if _, err := s.receive(); err != nil {
			return err
		}
		for _, text := range []string{"a", "b", "c"} {
			if err := s.send(text); err != nil {
				return err
			}
		}
		return nil
	}
	sum := func(s *stream) error {
		n := ""
		for {
			text, err := s.receive()
			if err == io.EOF {
				return s.send(n)
			}
			if err != nil {
				return err
			}
			n += text
		}
	}
	for _, side := range []string{"client", "server"} {
		for _, after := range []string{"0", "1", "2"} {
			rule := `{"point":"grpc.` + side + `.stream","truncate":{"after":` + after + `}}`
			t.Run("down, "+side+" "+after, func(t *testing.T) {
				noMoreGoroutines(t)
				s := strikable(t, three)
				faultrules.Put(t, s.faults, rule)
				c, err := s.NewStream(t.Context(), serverStream, serverMethod)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.SendMsg(wrapperspb.String("x")); err != nil {
					t.Errorf("the request is no stream, but %v", err)
				}
				got := ""
				for {
					text, e := receive(c.RecvMsg)
					if e != nil {
						err = e
						break
					}
					got += text
				}
				if got != "abc"[:after[0]-'0'] || status.Code(err) != codes.Unavailable {
					t.Errorf("got %q, then %v", got, err)
				}
				s.client.check(t, oneFailure)
				s.idle(t)
			})
			t.Run("up, "+side+" "+after, func(t *testing.T) {
				noMoreGoroutines(t)
				s := strikable(t, sum)
				faultrules.Put(t, s.faults, rule)
				c, err := s.NewStream(t.Context(), clientStream, clientMethod)
				if err != nil {
					t.Fatal(err)
				}
				sent := 0
				for range 3 {
					if c.SendMsg(wrapperspb.String("x")) == nil {
						sent++
					}
				}
				_ = c.CloseSend()
				if _, err := receive(c.RecvMsg); status.Code(err) != codes.Unavailable {
					t.Errorf("after %d messages %v", sent, err)
				}
				if side == "client" && sent != int(after[0]-'0') {
					t.Errorf("%d messages passed", sent)
				}
				s.client.check(t, oneFailure)
				s.idle(t)
			})
		}
	}
}

// TestStreamOfAsManyMessagesAsPassIsWhole: there is nothing to cut off.
func TestStreamOfAsManyMessagesAsPassIsWhole(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		s := strikable(t, echo)
		faultrules.Put(t, s.faults, `{"point":"grpc.`+side+`.stream","truncate":{"after":3}}`)
		if got, err := s.talk(t.Context(), "a", "b", "c"); len(got) != 3 || err != nil {
			t.Errorf("%s: %q, %v", side, got, err)
		}
		s.client.check(t, oneSuccess)
		s.server.check(t, oneSuccess)
	}
}

// TestStreamIsNotCutByARuleThatHasEnded, nor damaged.
func TestStreamIsNotCutByARuleThatHasEnded(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		for _, effect := range []string{`"truncate":{"after":1}`, `"corrupt":{"offset":5,"mode":"zero"}`} {
			s := strikable(t, echo)
			faultrules.Put(t, s.faults, `{"point":"grpc.`+side+`.stream",`+effect+`}`)
			c, err := s.NewStream(t.Context(), bidi, bidiMethod)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range []string{"a", "b", "c"} {
				if err := c.SendMsg(wrapperspb.String(text)); err != nil {
					t.Fatal(err)
				}
				if got, err := receive(c.RecvMsg); got != text || err != nil {
					t.Errorf("%s %s: %q, %v", side, effect, got, err)
				}
				if i == 0 {
					if err := s.faults.Kill(fault.Etcd, true); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := c.CloseSend(); err != nil {
				t.Error(err)
			}
			if _, err := receive(c.RecvMsg); err != io.EOF {
				t.Errorf("%s %s: %v", side, effect, err)
			}
		}
	}
}

// TestHandlerThatReadsHearsThatItsStreamBroke in the other direction: once something comes.
func TestHandlerThatReadsHearsThatItsStreamBroke(t *testing.T) {
	broken, heard := make(chan struct{}), make(chan error, 1)
	s := strikable(t, func(s *stream) error {
		var sending sync.WaitGroup
		sending.Go(func() { _ = s.send("x"); close(broken) })
		defer sending.Wait()
		_, err := s.receive()
		heard <- err
		return err
	})
	faultrules.Put(t, s.faults, `{"point":"grpc.server.send","error":{}}`)
	c, err := s.NewStream(t.Context(), bidi, bidiMethod)
	if err != nil {
		t.Fatal(err)
	}
	<-broken
	if err := c.SendMsg(wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; !errors.Is(err, fault.ErrInjected) {
		t.Errorf("the handler heard %v", err)
	}
	if _, err := receive(c.RecvMsg); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestOneAnswerThatIsLostOrDamagedIsAFailure although gRPC itself had it and called the stream a success.
func TestOneAnswerThatIsLostOrDamagedIsAFailure(t *testing.T) {
	for effect, want := range map[string]breaker.Counts{
		`"drop":{}`: oneFailure, `"truncate":{"after":2}`: oneFailure, `"error":{}`: oneFailure, `"panic":{}`: oneFailure, `"delay":{"fixed":"1ms"}`: oneSuccess,
	} {
		t.Run(effect, func(t *testing.T) {
			noMoreGoroutines(t)
			s := strikable(t, func(s *stream) error { s.receive(); return s.send("sum") })
			faultrules.Put(t, s.faults, `{"point":"grpc.client.receive",`+effect+`}`)
			c, err := s.NewStream(t.Context(), clientStream, clientMethod)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SendMsg(wrapperspb.String("x"))
			_ = c.CloseSend()
			func() {
				defer func() { recover() }()
				_, err = receive(c.RecvMsg)
			}()
			if want == oneFailure && effect != `"panic":{}` && status.Code(err) == codes.OK {
				t.Error("no error")
			}
			s.client.check(t, want)
			s.idle(t)
		})
	}
}

// TestStreamThatAClientBreaksEndsAtTheServer, although nobody has canceled it.
func TestStreamThatAClientBreaksEndsAtTheServer(t *testing.T) {
	for _, point := range []string{"grpc.client.send", "grpc.client.receive"} {
		s := strikable(t, func(s *stream) error {
			s.send("a")
			<-s.Context().Done()
			return s.Context().Err()
		})
		faultrules.Put(t, s.faults, `{"point":"`+point+`","error":{}}`)
		c, err := s.NewStream(t.Context(), bidi, bidiMethod)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server has the stream", func() bool { return len(s.server.group.Snapshot().Circuits) == 1 })
		_ = c.SendMsg(wrapperspb.String("x"))
		for range 2 { // and it stays broken
			if _, err := receive(c.RecvMsg); status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v", point, err)
			}
			if err := c.SendMsg(wrapperspb.String("x")); err != io.EOF {
				t.Errorf("%s: send: %v", point, err)
			}
		}
		s.server.check(t, oneIgnored) // its client has left
		s.client.check(t, oneFailure)
		s.idle(t)
	}
}

// TestCutStreamEndsTheContextOfItsHandler: one that only waits is let go.
func TestCutStreamEndsTheContextOfItsHandler(t *testing.T) {
	var cause atomic.Pointer[error]
	s := strikable(t, func(s *stream) error {
		go s.receive()
		<-s.Context().Done()
		err := context.Cause(s.Context())
		cause.Store(&err)
		return nil // the stream broke all the same
	})
	faultrules.Put(t, s.faults, `{"point":"grpc.server.receive","error":{"cause":"reset"}}`)
	if _, err := s.talk(t.Context(), "a"); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	if err := *cause.Load(); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("the cause is %v", err)
	}
}

// TestRulesChooseByMethodAndMark: test traffic can be struck while everybody else is spared.
func TestRulesChooseByMethodAndMark(t *testing.T) {
	s := strikable(t, echo)
	marked := metadata.AppendToOutgoingContext(t.Context(), "x-ai-test", "true")
	for _, c := range []struct {
		where           string
		plain, testCall bool // struck
	}{
		{`{"service":"test.Service","method":"Unary"}`, true, true},
		{`{"service":"test.*","method":"Other"}`, false, false},
		{`{"test":"true"}`, false, true},
		{`{"target":"*test"}`, true, true},
		{`{"tenant":"x"}`, false, false},
	} {
		faultrules.Put(t, s.faults, `{"point":"grpc.client.unary","where":`+c.where+`,"error":{}}`)
		_, plain := call(t.Context(), s.ClientConn, "x")
		_, testCall := call(marked, s.ClientConn, "x")
		if (plain != nil) != c.plain || (testCall != nil) != c.testCall {
			t.Errorf("%s: %v, marked: %v", c.where, plain, testCall)
		}
	}
	faultrules.Put(t, s.faults, `{"point":"grpc.server.unary","where":{"test":"true"},"error":{}}`)
	if _, err := call(t.Context(), s.ClientConn, "x"); err != nil {
		t.Error(err)
	}
	if _, err := call(marked, s.ClientConn, "x"); err == nil {
		t.Error("a marked call was spared by the server")
	}
	for _, hit := range s.faults.Status().Recent {
		if target, told := hit.Attributes["target"]; told != strings.HasPrefix(hit.Point, "grpc.client.") {
			t.Errorf("%s tells of the target %q", hit.Point, target)
		}
	}
}

func TestFallbackAnswersInPlaceOfAnInjectedError(t *testing.T) {
	faults := faulttest.New(t)
	f, err := NewFallback(FallbackOptions{Config: fallback.DefaultConfig(), Key: RequestKey(unaryMethod)})
	if err != nil {
		t.Fatal(err)
	}
	unary, _ := ClientInterceptors(WithFaults(faults), WithFallback(f))
	conn := serving(t, handlers{unary: (&flaky{}).unary}, nil, grpc.WithChainUnaryInterceptor(unary))
	if _, err := call(t.Context(), conn, "x"); err != nil {
		t.Fatal(err)
	}
	faultrules.Put(t, faults, `{"point":"grpc.client.unary","error":{"cause":"reset"}}`)
	var served Served
	if got, err := call(t.Context(), conn, "x", ServedBy(&served)); got != "x!" || err != nil || !errors.Is(served.Err, fault.ErrInjected) {
		t.Errorf("%q, %v, served %+v", got, err, served)
	}
}

func TestPointsThatAreOffCostACallNothing(t *testing.T) {
	conn := serving(t, handlers{}, nil)
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	handle := func(context.Context, any) (any, error) { return nil, nil }
	info := &grpc.UnaryServerInfo{FullMethod: unaryMethod}
	allocations := func(opts ...Option) (client, server float64) {
		call, _ := ClientInterceptors(opts...)
		serve, _ := ServerInterceptors(opts...)
		ctx := context.Background()
		return testing.AllocsPerRun(100, func() { _ = call(ctx, unaryMethod, nil, nil, conn, invoke) }),
			testing.AllocsPerRun(100, func() { _, _ = serve(ctx, nil, info, handle) })
	}
	client, server := allocations()
	clientOff, serverOff := allocations(WithFaults(faulttest.New(t)))
	if client != clientOff || server != serverOff {
		t.Errorf("allocations of a client %v, with points %v; of a server %v, %v", client, clientOff, server, serverOff)
	}
}

func TestTimeoutIsWhatTheRuleSays(t *testing.T) {
	s := strikable(t, echo)
	faultrules.Put(t, s.faults, `{"point":"grpc.client.unary","error":{"cause":"timeout"}}`)
	if _, err := call(t.Context(), s.ClientConn, "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v is no time-out to those who ask", err)
	}
}

// TestWhatIsHeldAtTheEndOfACallTakesNoSlot: a rule that holds results, or fails them in whatever way, leaves the limit
// as it is. The end of a stream is told on a goroutine of gRPC's, where a panic would end the process.
func TestWhatIsHeldAtTheEndOfACallTakesNoSlot(t *testing.T) {
	for _, effect := range []string{`"hang":{}`, `"panic":{}`, `"error":{}`, `"drop":{}`} {
		t.Run(effect, func(t *testing.T) {
			faults := faulttest.New(t)
			j := newJointsBy(t, faults, breaker.DefaultPolicy())
			s := &struck{ClientConn: serving(t, handlers{unary: (&flaky{}).unary, stream: echo}, nil, j.client()...)}
			faultrules.Put(t, faults, `{"point":"breaker.done",`+effect+`}`)
			var calls sync.WaitGroup
			for range 3 {
				calls.Go(func() { _, _ = call(t.Context(), s.ClientConn, "x") })
				calls.Go(func() { _, _ = s.talk(t.Context(), "x") })
			}
			eventually(t, "all are struck", func() bool { return faulttest.Hits(faults, "breaker.done") == 6 })
			eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
			faultrules.Put(t, faults)
			calls.Wait()
		})
	}
}

// TestWhatIsHeldAtAJointEndsWithItsCall, and gives back what it has.
func TestWhatIsHeldAtAJointEndsWithItsCall(t *testing.T) {
	for _, point := range []string{"ramp.admit", "breaker.allow"} {
		faults := faulttest.New(t)
		j := newJointsBy(t, faults, breaker.DefaultPolicy())
		conn := serving(t, handlers{unary: (&flaky{}).unary}, nil, j.client()...)
		faultrules.Put(t, faults, `{"point":"`+point+`","hang":{}}`)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("too slow"))
		if _, err := call(ctx, conn, "x"); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: %v", point, err)
		}
		cancel()
		if n := j.limit.Stats().Admitted; n != 0 {
			t.Errorf("%s: %d places are taken", point, n)
		}
	}
}

// FuzzDamagedMessage: whatever falls on the bytes of messages, they are read or refused, and no byte is counted twice.
func FuzzDamagedMessage(f *testing.F) {
	f.Add("hello", int64(0), int64(1), int64(2), uint8(0))
	f.Add("", int64(1<<62), int64(1<<62), int64(0), uint8(1))
	f.Add("\x00\xff\n\x05hello", int64(3), int64(1000), int64(1<<62), uint8(2))
	set := faulttest.New(f)
	point := set.Point(pointClientReceive)
	f.Fuzz(func(t *testing.T, text string, offset, length, after int64, mode uint8) {
		text = strings.ToValidUTF8(text, "?")
		rule := func(effect string, args ...any) string {
			return fmt.Sprintf(`{"point":"grpc.client.receive",`+effect+`}`, args...)
		}
		corrupt := rule(`"corrupt":{"offset":%d,"length":%d,"mode":%q}`, max(offset, 0), max(length, 1), []string{"flip", "zero", "random"}[mode%3])
		faultrules.Put(t, set, corrupt, rule(`"truncate":{"after":%d}`, max(after, 0)))
		one, err := point.Damage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := newBroken(&joints{}, Call{}, true, true, one)
		var size int64
		for range 3 {
			m := wrapperspb.String(text)
			size += int64(proto.Size(m))
			lost, refused := b.received(m, &fault.Damage{}, "stream", "receive")
			if lost || refused != nil && refused.status.Code() != codes.Internal {
				t.Errorf("lost: %v, %v", lost, refused)
			}
			if b.read != size && one.Corrupts() {
				t.Errorf("%d bytes were read, %d came", b.read, size)
			}
			alone := wrapperspb.String(text)
			d, err := point.Damage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r := mangleAll(alone, "receive", &d); r == nil && len(alone.Value) > len(text) {
				t.Errorf("%q has become %q", text, alone.Value)
			}
		}
	})
}
