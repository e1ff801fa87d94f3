package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
	"github.com/dougong-io/dougong/test/testenv/etcdserver"
)

// binary is the program under test, built once as it is shipped: without cgo.
var binary string

func TestMain(m *testing.M) {
	if etcdserver.IsChild() {
		os.Exit(etcdserver.Serve())
	}
	os.Exit(testenv.Main(m, &binary))
}

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 60 * time.Second

// process is a running dougong.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	http, admin string // base URLs
	grpc        string // address
	stdout      testenv.Buffer
	stderr      testenv.Buffer
	ended       chan struct{}
}

// start runs `dougong args…` on ports of the system's choice with environment overrides, and does not wait
// for anything.
func start(t *testing.T, args []string, env ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Env = testenv.Environment(append([]string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s"}, env...))
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.run()
	return p
}

func (p *process) run() {
	t := p.t
	t.Helper()
	testenv.EndWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("standard error:\n%s", p.stderr.String())
		}
	})
}

var servingLine = regexp.MustCompile(`"msg":"serving","http":"([^"]+)","grpc":"([^"]+)","admin":"([^"]+)"`)

// up starts a process and waits until it serves.
func up(t *testing.T, env ...string) *process {
	t.Helper()
	p := start(t, []string{"up"}, env...)
	p.awaitServing()
	return p
}

func (p *process) awaitServing() {
	p.t.Helper()
	p.eventually("serving", func() bool {
		match := servingLine.FindStringSubmatch(p.stderr.String())
		p.listens(match)
		return match != nil
	})
	if status, body := p.get(p.http + "/readyz"); status != 200 {
		p.t.Fatalf("serving, but not ready: %d %s", status, body)
	}
}

// listens takes the addresses from a match of servingLine, if there is one.
func (p *process) listens(match []string) {
	if match != nil {
		p.http, p.grpc, p.admin = "http://"+match[1], match[2], "http://"+match[3]
	}
}

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

func (p *process) get(url string, header ...string) (int, string) {
	p.t.Helper()
	return do(p.t, http.MethodGet, url, "", header...)
}

func (p *process) predict(body string, header ...string) (int, string) {
	p.t.Helper()
	return do(p.t, http.MethodPost, p.http+"/v1/predict", body, header...)
}

func do(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// halfSent is a prediction of which everything but the last byte was sent: it is in flight until end.
type halfSent struct {
	conn net.Conn
}

const miniRequest = `{"model":"loan-mini","input":[0.1,0.9]}`

func (p *process) sendHalf() halfSent {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(miniRequest), miniRequest[:len(miniRequest)-1])
	return halfSent{conn}
}

// end sends the last byte and returns the answer.
func (h halfSent) end() (status int, body string, err error) {
	if _, err := h.conn.Write([]byte(miniRequest[len(miniRequest)-1:])); err != nil {
		return 0, "", err
	}
	return h.answer()
}

func (h halfSent) answer() (status int, body string, err error) {
	r, err := http.ReadResponse(bufio.NewReader(h.conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	return r.StatusCode, string(data), err
}

// run runs a command to its end.
func run(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, err bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = testenv.Environment(env)
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}
