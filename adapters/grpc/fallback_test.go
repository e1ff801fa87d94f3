package grpcmw

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// withFallback returns a connection to a flaky server, and its joints.
func withFallback(t *testing.T, o FallbackOptions) (*grpc.ClientConn, *flaky, *joined) {
	t.Helper()
	o.Config = fallback.DefaultConfig()
	if o.Key == nil {
		o.Key = RequestKey(unaryMethod)
	}
	f, err := NewFallback(o)
	if err != nil {
		t.Fatal(err)
	}
	y, j := &flaky{}, newJoints(t, twoFailures(), WithFallback(f))
	return serving(t, handlers{unary: y.unary}, nil, j.client()...), y, j
}

func TestLastGoodAnswerIsGivenInPlaceOfAFailure(t *testing.T) {
	noMoreGoroutines(t)
	conn, y, j := withFallback(t, FallbackOptions{})
	var served Served
	if got, err := call(t.Context(), conn, "x", ServedBy(&served)); got != "x!" || err != nil || served != (Served{Source: fallback.Primary}) {
		t.Fatal(got, err, served)
	}
	mine := &wrapperspb.StringValue{}
	if err := conn.Invoke(t.Context(), unaryMethod, wrapperspb.String("x"), mine); err != nil {
		t.Fatal(err)
	}
	mine.Value = "the caller's own"
	y.fails(status.Error(codes.Unavailable, "down"))
	for i := range 5 {
		reply := wrapperspb.String("before")
		err := conn.Invoke(t.Context(), unaryMethod, wrapperspb.String("x"), reply, ServedBy(&served))
		if reply.Value != "x!" || err != nil || served.Source != fallback.Cached || i == 0 && status.Code(served.Err) != codes.Unavailable {
			t.Fatal(reply, err, served)
		}
		reply.Value = "the caller's own"
	}
	if !errors.Is(served.Err, breaker.ErrRejected) {
		t.Error("the circuit never opened:", served.Err)
	}
	if _, err := call(t.Context(), conn, "y"); !errors.Is(err, breaker.ErrRejected) {
		t.Error("given to another request:", err)
	}
	eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
}

func TestAnswersThatAreErrorsAreNoReasonToFallBack(t *testing.T) {
	conn, y, _ := withFallback(t, FallbackOptions{})
	call(t.Context(), conn, "x")
	y.fails(status.Error(codes.NotFound, "none"))
	if _, err := call(t.Context(), conn, "x"); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

func TestMethodsWithoutAKeyHaveNoFallback(t *testing.T) {
	conn, y, _ := withFallback(t, FallbackOptions{Key: RequestKey("/other/Method")})
	call(t.Context(), conn, "x")
	y.fails(status.Error(codes.Unavailable, "down"))
	served := Served{Source: "untouched"}
	if _, err := call(t.Context(), conn, "x", ServedBy(&served)); status.Code(err) != codes.Unavailable || served.Source != "untouched" {
		t.Error(err, served)
	}
}

func TestDefaultAnswersWhenNothingIsKept(t *testing.T) {
	conn, y, _ := withFallback(t, FallbackOptions{Default: func(_ context.Context, c Call, req any, cause error) (proto.Message, error) {
		switch req.(*wrapperspb.StringValue).Value {
		case "other type":
			return &emptypb.Empty{}, nil
		case "fails too":
			return nil, errors.New("no idea")
		}
		return wrapperspb.String(c.Method + " " + status.Code(cause).String()), nil
	}})
	y.fails(status.Error(codes.Unavailable, "down"))
	var served Served
	if got, err := call(t.Context(), conn, "x", ServedBy(&served)); got != unaryMethod+" Unavailable" || err != nil || served.Source != fallback.Default {
		t.Error(got, err, served)
	}
	if _, err := call(t.Context(), conn, "other type"); err == nil || !strings.Contains(err.Error(), "answer is a google.protobuf.Empty, must be a google.protobuf.StringValue") {
		t.Error(err)
	}
	if _, err := call(t.Context(), conn, "fails too"); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no idea") {
		t.Error(err)
	}
}

func TestFaultyFallbackIsRefused(t *testing.T) {
	_, err := NewFallback(FallbackOptions{})
	if err == nil || !strings.Contains(err.Error(), "default_timeout: ") || !strings.Contains(err.Error(), "key: ") {
		t.Error(err)
	}
}
