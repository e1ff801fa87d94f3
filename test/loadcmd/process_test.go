package loadcmd

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
)

// binary is the program under test, built once as it is shipped: without cgo.
var binary string

func TestMain(m *testing.M) { os.Exit(testenv.Main(m, &binary)) }

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 60 * time.Second

// process is a running dougong.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr testenv.Buffer
	drained        func() // waits until all output has been read; may be nil
	ended          chan struct{}
}

// start runs `dougong args…` in dir and does not wait for anything.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...)}
	p.cmd.Dir, p.cmd.Env = dir, testenv.Environment(env, "TERM", "NO_COLOR")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.run()
	return p
}

func (p *process) run() {
	p.t.Helper()
	testenv.EndWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() {
		p.cmd.Wait()
		if p.drained != nil {
			p.drained()
		}
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if p.t.Failed() {
			p.t.Logf("%s\nstandard output:\n%s\nstandard error:\n%s", strings.Join(p.cmd.Args, " "), p.stdout.String(), p.stderr.String())
		}
	})
}

// eventually waits until ok holds. The process must not end before that.
func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.ended:
			p.t.Fatalf("%s: the process has ended: %v", what, p.cmd.ProcessState)
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("still running after %v", patience)
		return -1
	}
}

var servingLine = regexp.MustCompile(`"msg":"serving","http":"([^"]+)"`)

// up starts all services on ports of the system's choice and returns the address that they answer on.
func up(t *testing.T, env ...string) string {
	t.Helper()
	p := start(t, "", append([]string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s", "DOUGONG_HTTP_ACCESS_LOG=false"}, env...), "up")
	var match []string
	p.eventually("serving", func() bool {
		match = servingLine.FindStringSubmatch(p.stderr.String())
		return match != nil
	})
	return match[1]
}

// good is a server that answers 200 and a short text to everything.
func good(t *testing.T) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "good") })
}

// silent is a server that never answers.
func silent(t *testing.T) string {
	over := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) }) // before the server closes, which waits for its requests
	return url
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// load runs `dougong load args…` to its end, in a folder of its own.
func load(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return loadIn(t, t.TempDir(), args...)
}

func loadIn(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, dir, nil, append([]string{"load"}, args...)...)
	code = p.exit()
	return code, p.stdout.String(), p.stderr.String()
}

// certain is a plan whose verdict does not depend on how busy this machine is.
func certain(t *testing.T) string {
	return write(t, "certain.yaml", "late_after: 1h\nconnections: 8\n")
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// root is the folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
