package grpcserver

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
)

func TestClientCannotForgeALine(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	cc := r.dial(t, grpc.WithUserAgent(`x","code":"Forged`+strings.Repeat("y", 300)))
	if err := ask(context.Background(), cc); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if got := r.access.String(); strings.Contains(got, `"code":"Forged`) || strings.Count(got, "\n") != 1 || strings.Contains(got, strings.Repeat("y", 200)) {
		t.Errorf("logged %s", got)
	}
}

func TestServerErrorsAreErrorsInTheLog(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(func(context.Context, func(any) error) (any, error) { panic("x") }, echoes))
	say(context.Background(), r.dial(t), "x")
	r.stop()
	if got := r.access.String(); !strings.Contains(got, `"level":"ERROR"`) || !strings.Contains(got, `"code":"Internal"`) {
		t.Errorf("logged %s", got)
	}
}
