package hardening

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// process is what a process said before it ended.
type process struct {
	code           int
	stdout, stderr string
}

func runProcess(t *testing.T, cmd *exec.Cmd) process {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			t.Fatal(err)
		}
	}
	return process{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// start runs this program with nothing in its environment but what is given.
func start(t *testing.T, mode string, environ ...string) process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append([]string{asProcess + "=" + mode}, environ...)
	return runProcess(t, cmd)
}

// TestHardenedProcessRefusesEachVariable starts a process for each of them.
func TestHardenedProcessRefusesEachVariable(t *testing.T) {
	values := map[string]string{"GODEBUG": "http2client=0", "LD_DEBUG": "statistics"} // what the runtime and a loader know
	for _, v := range refused {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			value := values[v.name]
			if value == "" {
				value = t.TempDir()
			}
			got := start(t, "hardened", v.name+"="+value)
			if got.code != 2 || !strings.Contains(got.stderr, "hardened mode: "+v.name+" is set, which "+v.does+"; unset it") {
				t.Errorf("exit code %d, %s", got.code, got.stderr)
			}
			if got := start(t, "off", v.name+"="+value); got.code != 0 || !strings.Contains(got.stdout, `"hardened":false`) || !strings.Contains(got.stdout, `"variables":["`+v.name+`"]`) {
				t.Errorf("not hardened: exit code %d, %s%s", got.code, got.stdout, got.stderr)
			}
			if got := start(t, "hardened", v.name+"="); got.code != 0 {
				t.Errorf("empty: exit code %d, %s", got.code, got.stderr)
			}
		})
	}
}

func TestHardenedProcessNamesAllAtOnce(t *testing.T) {
	got := start(t, "hardened", "GODEBUG=http2client=0", "LD_LIBRARY_PATH=/nowhere", "GOGC=50", "SSL_CERT_FILE=/nowhere", "LD_LIBRARY=1", "godebug=1")
	if got.code != 2 || strings.Count(got.stderr, "hardened mode: ") != 2 {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
	if strings.Contains(got.stderr, "/nowhere") {
		t.Errorf("a value is repeated: %s", got.stderr)
	}
	var line struct {
		Msg, Libc string
		Variables []string
	}
	if err := json.Unmarshal([]byte(got.stdout), &line); err != nil {
		t.Fatalf("%v in %s", err, got.stdout)
	}
	if line.Msg != "linked" || line.Libc == "" || line.Libc == libcUnknown || !slices.Equal(line.Variables, []string{"LD_LIBRARY_PATH", "GODEBUG"}) {
		t.Errorf("%+v", line)
	}
}

func TestRefusalCanBeToldApart(t *testing.T) {
	var err error = &RefusedError{Variables: []string{"LD_AUDIT"}}
	if !errors.Is(err, ErrRefused) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestPageListsTheVariables: docs/image.md has each of them, in this order.
func TestPageListsTheVariables(t *testing.T) {
	page, err := os.ReadFile("../../docs/image.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Hardened mode")
	var listed []string
	for line := range strings.Lines(section) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			listed = append(listed, name)
		}
	}
	if want := names(refused); !slices.Equal(listed, want) {
		t.Errorf("the page lists %q, the code %q", listed, want)
	}
}
