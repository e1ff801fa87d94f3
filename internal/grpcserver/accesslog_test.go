package grpcserver

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

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

// TestStringsOfALineAreJSON: what is read back is what went in, except for bytes that are no text.
func TestStringsOfALineAreJSON(t *testing.T) {
	for s, want := range map[string]string{
		"plain": "plain", "\"\\\n\x00\x7f": "\"\\\n\x00\x7f", "斗拱 🏯 \u202e": "斗拱 🏯 \u202e", "a\xffb": "a\ufffdb", "": "",
	} {
		line := appendString(nil, s)
		var got string
		if err := json.Unmarshal(line, &got); err != nil || got != want {
			t.Errorf("%q: %s, %v", s, line, err)
		}
		if strings.ContainsFunc(string(line), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q: %q", s, line)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n", "斗拱 🏯", "a\xff\xc0b", "\ud7ff\ue000\U0010ffff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	})
}

func TestServerErrorsAreErrorsInTheLog(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(func(context.Context, func(any) error) (any, error) { panic("x") }, echoes))
	say(context.Background(), r.dial(t), "x")
	r.stop()
	if got := r.access.String(); !strings.Contains(got, `"level":"ERROR"`) || !strings.Contains(got, `"code":"Internal"`) {
		t.Errorf("logged %s", got)
	}
}
