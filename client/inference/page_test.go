package inferenceclient_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// TestPageOfTheClientRuns makes a module as docs/client.md says, with its first program, and runs that against a real
// service. Only the checkout and the ports differ.
func TestPageOfTheClientRuns(t *testing.T) {
	page, err := os.ReadFile("../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllStringSubmatch(string(page), 3)
	if len(blocks) != 3 || blocks[0][1] != "sh" || blocks[1][1] != "go" || blocks[2][1] != "text" {
		t.Fatalf("the page does not begin with lines of a shell, a program and what it prints: %q", blocks)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	rest, overGRPC := demo(t)
	dir := t.TempDir()
	program := strings.NewReplacer("http://127.0.0.1:8080", rest, "grpc://127.0.0.1:8081", overGRPC).Replace(blocks[1][2])
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s%s", name, args, err, out, stderr.String())
		}
		return string(out)
	}
	run("sh", "-euc", strings.ReplaceAll(blocks[0][2], "CHECKOUT", checkout))
	if got, want := run("go", "run", "."), blocks[2][2]; got != want {
		t.Errorf("the program prints\n%s\nand should\n%s", got, want)
	}
}
