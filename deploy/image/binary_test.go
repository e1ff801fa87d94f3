package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBinaryThatHasNoPlaceIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := smallRepository(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  []string
		args []string
		want string // empty: taken
	}{
		{"as we build it", []string{"CGO_ENABLED=0"}, []string{"-trimpath", "-buildvcs=true"}, ""},
		{"with paths", []string{"CGO_ENABLED=0"}, []string{"-buildvcs=true"}, `-trimpath is "", must be "true"`},
		{"without a commit", []string{"CGO_ENABLED=0"}, []string{"-trimpath", "-buildvcs=false"}, "where it comes from is not known"},
		{"with cgo", []string{"CGO_ENABLED=1"}, []string{"-trimpath", "-buildvcs=true"}, "build it with CGO_ENABLED=0"},
		{"for another system", []string{"CGO_ENABLED=0", "GOOS=darwin"}, []string{"-trimpath", "-buildvcs=true"}, "containers run Linux"},
		{"with a loader", []string{"CGO_ENABLED=0"}, []string{"-trimpath", "-buildvcs=true", "-buildmode=pie"}, "it needs a loader"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, "program")
			cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", file}, c.args...), mainPackage)...)
			cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly", "GOWORK=off"), c.env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			defer os.Remove(file)
			_, err := readBinary(file)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := parseBinary([]byte("#!/bin/sh\n")); err == nil || !strings.Contains(err.Error(), "no program of Go") {
		t.Errorf("a script: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := smallRepository(source); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bin", "image.tar")
	base := []string{"-source", source, "-platform", "linux/amd64", "-o", file}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, small(t).binary.data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ []string
		args    []string
		code    int
		want    string
	}{
		{nil, []string{"-help"}, exitOK, "-ca-certificates"},
		{nil, []string{"-nonsense"}, exitUsage, "-nonsense"},
		{nil, []string{"more", "-x"}, exitUsage, `unexpected "more"`},
		{nil, []string{"-platform", "plan9/386", "-name", "Dougong", "-version", "a b", "-builder", "me"}, exitUsage, "-builder: "},
		{nil, []string{"-check"}, exitFailure, "no such file"},
		{nil, []string{"-binary", program}, exitOK, "ghcr.io/dougong-io/dougong:dev (linux/amd64)"},
		{nil, []string{"-check"}, exitOK, "digest      sha256:"},
		{nil, []string{"-binary", program, "-platform", "linux/arm64"}, exitFailure, "is for linux/amd64; say so with -platform"},
		{[]string{"SOURCE_DATE_EPOCH=never"}, []string{"-binary", program}, exitFailure, "SOURCE_DATE_EPOCH"},
		{nil, []string{"-binary", source}, exitFailure, "is a directory"},
		{nil, []string{"-version", "v1.2.3"}, exitOK, "dougong:v1.2.3"},
		{nil, []string{"-platform", "linux/arm64"}, exitOK, "(linux/arm64)"},
		{nil, []string{"-source", dir}, exitFailure, "go build"},
	} {
		code, stdout, stderr := commandLine(t, c.environ, append(base, c.args...)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	// All faults of a command line at once.
	if _, _, stderr := commandLine(t, nil, "-platform", "x", "-name", "X", "-version", "", "-builder", "x"); strings.Count(stderr, "\n") != 4 {
		t.Errorf("%s", stderr)
	}

	// What is not committed goes into no release.
	if err := os.WriteFile(filepath.Join(source, "cmd/dougong/main.go"), []byte("package main\n\nfunc main() { println(\"changed\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := commandLine(t, nil, append(base, "-version", "v1.2.3")...); code != exitFailure || !strings.Contains(stderr, "not committed") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("what failed has changed the file: %v", err)
	}
	code, stdout, stderr := commandLine(t, nil, base...)
	if code != exitOK || !strings.Contains(stdout, " with changes") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if provenance, err := os.ReadFile(filepath.Join(dir, "bin", "image.provenance.json")); err != nil || !strings.Contains(string(provenance), `"modified": true`) {
		t.Errorf("the provenance does not say so: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "bin"))
	if err != nil || len(left) != 3 {
		t.Errorf("%v, %v", left, err)
	}
}
