package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestEachOfSeveralErrorsHasTheProgramsName(t *testing.T) {
	one, two, three := errors.New("one"), errors.New("two"), errors.New("three\nin two lines")
	for _, c := range []struct {
		err  error
		want string
	}{
		{one, "dougong: one"},
		{errors.Join(one, two), "dougong: one\ndougong: two"},
		{fmt.Errorf("member public servers: %w", errors.Join(fmt.Errorf("http: %w", one), two)), "dougong: member public servers: http: one\ndougong: member public servers: two"},
		{errors.Join(fmt.Errorf("a: %w", errors.Join(one, two)), three), "dougong: a: one\ndougong: a: two\ndougong: three\nin two lines"},
		{fmt.Errorf("%w, and then %w", one, two), "dougong: one, and then two"},
		{fmt.Errorf("%w; do something", errors.Join(one, two)), "dougong: one\ntwo; do something"},
		{codeError{3, errors.New("no verdict")}, "dougong: no verdict"},
	} {
		if got := ours(c.err); got != c.want {
			t.Errorf("%q\nand should be\n%q", got, c.want)
		}
	}
}

func TestTakenPortsAreToldALineEach(t *testing.T) {
	for key, value := range map[string]string{"HTTP_LISTEN": taken(t), "GRPC_LISTEN": taken(t), "ADMIN_LISTEN": "127.0.0.1:0", "LIFECYCLE_DRAIN_DELAY": "0s"} {
		t.Setenv("DOUGONG_"+key, value)
	}
	code, _, stderr := dougong("up")
	told := 0
	for line := range strings.Lines(stderr) {
		switch {
		case strings.HasPrefix(line, "dougong: member public servers: http.listen: listen tcp "), strings.HasPrefix(line, "dougong: member public servers: grpc.listen: listen tcp "):
			told++
		case !strings.HasPrefix(line, "{"): // the log
			t.Errorf("a line of nobody: %s", line)
		}
	}
	if code != exitFailure || told == 0 { // one may have ended the other before it came to its own
		t.Errorf("exit code %d, %d lines: %s", code, told, stderr)
	}
}

// taken is an address that somebody listens at.
func taken(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}
