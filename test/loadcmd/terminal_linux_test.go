package loadcmd

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dougong-io/dougong/test/testenv"
)

// terminal opens a pseudo-terminal: what the program writes to its side can be read from ours.
func terminal(t *testing.T) (ours, its *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	control := func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed != nil {
			return
		}
		if failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}); failed != nil {
			return
		}
		number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	}
	if err := raw.Control(control); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if its, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	return ours, its
}

// startInTerminal runs `dougong args…` as a shell in a terminal would. Its output is collected in stdout.
func startInTerminal(t *testing.T, env []string, args ...string) (p *process, ours *os.File) {
	t.Helper()
	ours, its := terminal(t)
	p = &process{t: t, cmd: exec.Command(binary, args...)}
	p.cmd.Dir, p.cmd.Env = t.TempDir(), testenv.Environment(env, "TERM", "NO_COLOR")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = its, its, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&p.stdout, ours) // fails once nobody holds the other side
	}()
	p.drained = func() { <-read }
	p.run()
	its.Close() // the child has its own
	return p, ours
}

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	frame      = "\x1b[?2026h"
)

func TestCtrlCInATerminalGivesTheCursorBack(t *testing.T) {
	t.Parallel()
	p, keys := startInTerminal(t, []string{"TERM=xterm-256color"}, "load", good(t), "--rate", "100", "--for", "10m", "-c", "4", "--json", "r.json")
	p.eventually("three frames", func() bool { return strings.Count(p.stdout.String(), frame) >= 3 })
	if out := p.stdout.String(); strings.Count(out, hideCursor) != 1 || strings.Contains(out, showCursor) || !strings.Contains(out, "\x1b[38;5;") {
		t.Error("the view does not hide the cursor once, in colour")
	}
	if _, err := keys.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	out := p.stdout.String()
	if strings.Count(out, showCursor) != 1 || strings.LastIndex(out, showCursor) < strings.LastIndex(out, frame) {
		t.Error("the cursor is not given back after the last frame")
	}
	summary := out[strings.LastIndex(out, showCursor):]
	if !strings.Contains(summary, "interrupted") || !strings.Contains(summary, "uncorrected") {
		t.Error("there is no summary below the view")
	}
	if r := readJSON(t, p.cmd.Dir+"/r.json"); r.End != "interrupted" || r.Total.Due == 0 {
		t.Errorf("the report covers %d requests, %s", r.Total.Due, r.End)
	}
}

func TestSecondCtrlCGivesTheCursorBackToo(t *testing.T) {
	t.Parallel()
	p, keys := startInTerminal(t, []string{"TERM=xterm-256color"}, "load", silent(t), "--rate", "100", "--for", "10m", "-c", "4", "--timeout", "10m", "--json", "r.json")
	p.eventually("a frame", func() bool { return strings.Contains(p.stdout.String(), frame) })
	for over := false; !over; {
		keys.WriteString("\x03") // more than two, as the system merges those that are pending at a time
		select {
		case <-p.ended:
			over = true
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			over = true
		}
	}
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if out := p.stdout.String(); strings.LastIndex(out, showCursor) < strings.LastIndex(out, hideCursor) {
		t.Error("the cursor stays hidden")
	}
	if left, err := os.ReadDir(p.cmd.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestTerminalsThatCannotAreGivenLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		env  []string
		args []string
	}{
		{"dumb", []string{"TERM=dumb"}, nil},
		{"told", []string{"TERM=xterm-256color"}, []string{"--plain"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, _ := startInTerminal(t, c.env, append([]string{"load", good(t), "--rate", "100", "--for", "1s"}, c.args...)...)
			if code := p.exit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if out := p.stdout.String(); strings.Contains(out, "\x1b") || !strings.Contains(out, "corrected") {
				t.Error("there are escape codes, or no summary")
			}
		})
	}
}

func TestNoColorIsHeeded(t *testing.T) {
	t.Parallel()
	p, _ := startInTerminal(t, []string{"TERM=xterm-256color", "NO_COLOR=1"}, "load", good(t), "--rate", "100", "--for", "1s")
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out := p.stdout.String()
	if !strings.Contains(out, frame) || strings.Contains(out, "\x1b[38;5;") {
		t.Error("there is no view, or it has colours")
	}
}
