package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mainPackage is what is built, from the root of the repository.
const mainPackage = "./cmd/dougong"

// command is how the binary is built. It goes into the provenance, so nothing in it may be of one machine.
type command struct {
	env  []string
	args []string // without where the result goes
}

// buildCommand builds the same bytes from the same commit with the same Go: no paths of the machine (-trimpath), no
// build id, no C compiler, and what the machine's own settings could change said outright. The commit is stamped in,
// so that the binary can say where it comes from; two clones of a commit stamp the same. The symbol table is left
// out, which takes a quarter off; stacks and profiles do not need it.
func buildCommand(platform string) command {
	goos, goarch, _ := strings.Cut(platform, "/")
	level := map[string]string{"amd64": "GOAMD64=v1", "arm64": "GOARM64=v8.0"}[goarch]
	return command{
		// GOFLAGS is not empty, as an empty one gives way to what `go env -w` has stored.
		env:  []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + goarch, level, "GOFIPS140=off", "GOFLAGS=-mod=readonly", "GOWORK=off"},
		args: []string{"build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w -buildid=", mainPackage},
	}
}

// run builds from the root of a repository. It ends with ctx.
func (c command) run(ctx context.Context, source, to string, stderr io.Writer) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	args := append([]string{c.args[0], "-o", to}, c.args[1:]...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = source, append(os.Environ(), c.env...), stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s in %s: %w", strings.Join(args, " "), source, err)
	}
	return nil
}
