package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// git runs git as nobody in particular, at a fixed time.
func git(dir string, args ...string) error {
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %v: %w: %s", args, err, out)
	}
	return nil
}

// smallRepository is a repository with a program in the place of ours that is built in a second.
func smallRepository(dir string) error {
	for name, content := range map[string]string{
		"go.mod":              "module github.com/dougong-io/dougong\n\ngo 1.26.0\n",
		"cmd/dougong/main.go": "package main\n\nfunc main() { println(\"up\") }\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "a program"}} {
		if err := git(dir, args...); err != nil {
			return err
		}
	}
	return nil
}

var smallOnce = sync.OnceValues(func() (binary, error) {
	dir, err := os.MkdirTemp("", "small-")
	if err != nil {
		return binary{}, err
	}
	defer os.RemoveAll(dir)
	if err := smallRepository(dir); err != nil {
		return binary{}, err
	}
	file := filepath.Join(dir, "program")
	if err := buildCommand("linux/amd64").run(context.Background(), dir, file, io.Discard); err != nil {
		return binary{}, err
	}
	return readBinary(file)
})

// small is an image of the small program.
func small(t testing.TB) product {
	t.Helper()
	b, err := smallOnce()
	if err != nil {
		t.Fatal(err)
	}
	return product{name: "ghcr.io/dougong-io/dougong", version: devVersion, builder: "https://example.org/builder", created: b.committed, binary: b, command: buildCommand("linux/amd64")}
}

// written is a product in a file, with its documents beside it.
func written(t testing.TB, p product) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := p.write(file); err != nil {
		t.Fatal(err)
	}
	return file
}

func loadedFrom(t testing.TB, file string) *loaded {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l, err := load(data)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// commandLine runs the command line of the tool.
func commandLine(t testing.TB, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, environ, &out, &errs)
	return code, out.String(), errs.String()
}

// clonedRoot is the repository that this is in.
func clonedRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("not in a git clone")
	}
	return root
}
