package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsNotGeneratedIsFound(t *testing.T) {
	files := map[string]string{"a/a.pb.go": "package a // messages\n", "a/a_grpc.pb.go": "package a // service\n"}
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string // "": nothing
	}{
		"fresh": {func(string) error { return nil }, ""},
		"changed": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a", "a_grpc.pb.go"), []byte("package a // Service\n"), 0o644)
		}, "a/a_grpc.pb.go: not what its source gives"},
		"missing": {func(dir string) error { return os.Remove(filepath.Join(dir, "a", "a.pb.go")) }, "a/a.pb.go: missing"},
		"left over": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a", "b.pb.go"), []byte("package a\n"), 0o644)
		}, "a/b.pb.go: has no source"},
		"by hand": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a", "b.go"), []byte("package a\n"), 0o644)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := write(dir, maps.Clone(files)); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			err := compare(dir, files)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
