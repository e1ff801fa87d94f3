package reload

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileThatCouldNotBeLoadedIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	var logs bytes.Buffer
	f := Files{Log: slog.New(slog.NewTextHandler(&logs, nil))}
	// A load that fails for what stat does not show, as when a file may not be read for a while.
	var broken error
	loads, loaded := 0, ""
	load := func() error {
		loads++
		if broken != nil {
			return broken
		}
		data, err := os.ReadFile(path)
		loaded = string(data)
		return err
	}
	if err := f.Load("tokens_file", load, path, ""); err != nil {
		t.Fatal(err)
	}
	look := func() { f.look(f.watched[0]) }
	look()
	if loads != 1 {
		t.Error("loaded what did not change")
	}
	broken = os.ErrPermission
	write("another")
	for range 3 {
		look()
	}
	if n := strings.Count(logs.String(), "reload_failed"); loads != 4 || n != 1 || loaded != "one" {
		t.Errorf("loaded %d times, logged %d times, in force %q", loads, n, loaded)
	}
	broken = os.ErrDeadlineExceeded
	look()
	if n := strings.Count(logs.String(), "reload_failed"); n != 2 {
		t.Errorf("logged %d times", n)
	}
	broken = nil
	look()
	look()
	if loads != 6 || loaded != "another" || !strings.Contains(logs.String(), "changed file loaded") {
		t.Errorf("loaded %d times, in force %q; logged %s", loads, loaded, logs.String())
	}
}
