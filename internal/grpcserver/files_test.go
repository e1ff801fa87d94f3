package grpcserver

import (
	"os"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/internal/auth"
)

func TestFileThatCouldNotBeLoadedIsTriedAgain(t *testing.T) {
	cfg := testConfig()
	path, plain := writeTokens(t)
	cfg.TokensFile = path
	r := start(t, cfg, Deps{}, inference(isReady))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A load that fails for what stat does not show, as when a file may not be read for a while.
	var broken error
	loads := 0
	w := &watched{name: "tokens_file", paths: []string{path}, last: stat([]string{path}), load: func() error {
		loads++
		if broken != nil {
			return broken
		}
		return r.loadTokens()
	}}
	r.look(w)
	if loads != 0 {
		t.Error("loaded what did not change")
	}
	broken = os.ErrPermission
	if err := os.WriteFile(path, append(good, ' '), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.look(w)
	}
	if n := strings.Count(r.logs.String(), "reload_failed"); loads != 3 || n != 1 {
		t.Errorf("loaded %d times, logged %d times", loads, n)
	}
	broken = os.ErrDeadlineExceeded
	r.look(w)
	if n := strings.Count(r.logs.String(), "reload_failed"); n != 2 {
		t.Errorf("logged %d times", n)
	}
	broken = nil
	r.look(w)
	r.look(w)
	if loads != 5 || !strings.Contains(r.logs.String(), "changed file loaded") {
		t.Errorf("loaded %d times; logged %s", loads, r.logs)
	}
	if _, ok := r.tokens.Load().Lookup(plain[auth.Read]); !ok {
		t.Error("the token is not known")
	}
}
