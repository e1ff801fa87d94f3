package faultcmd

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/test/testenv"
)

// binary is the program under test, built once as it is shipped: without cgo.
var binary string

func TestMain(m *testing.M) { os.Exit(testenv.Main(m, &binary)) }

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 3 * time.Minute

// process is a running dougong.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr testenv.Buffer
	ended          chan struct{}
}

// start runs `dougong args…` in dir and does not wait for anything.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, testenv.Environment(env)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	testenv.EndWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s\nstandard output:\n%s\nstandard error:\n%s", strings.Join(p.cmd.Args, " "), p.stdout.String(), p.stderr.String())
		}
	})
	return p
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

// exit waits for the end and returns the exit code, -1 after a signal.
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

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

var servingLine = regexp.MustCompile(`"msg":"serving","http":"([^"]+)".*"admin":"([^"]+)"`)

// inference starts the service on ports of the system's choice, and returns its addresses.
func inference(t *testing.T) (public, admin string) {
	p := start(t, "", []string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s", "DOUGONG_HTTP_ACCESS_LOG=false"}, "run", "inference")
	var match []string
	p.eventually("serving", func() bool {
		match = servingLine.FindStringSubmatch(p.stderr.String())
		return match != nil
	})
	return match[1], match[2]
}

// rules lists the rules that a service has.
func rules(t *testing.T, admin string) []string {
	t.Helper()
	response, err := http.Get("http://" + admin + "/faults")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var status struct {
		Rules []struct {
			ID string `json:"id"`
		} `json:"rules"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	ids := []string{}
	for _, r := range status.Rules {
		ids = append(ids, r.ID)
	}
	return ids
}

// marked counts the processes that plans have started whose journals are in a directory.
func marked(t *testing.T, journals string) int {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(journals, "*.jsonl"))
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	n := 0
	for _, file := range files {
		_, run, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".jsonl"), "-")
		for _, e := range environs {
			if text, err := os.ReadFile(e); err == nil && strings.Contains(string(text), "PROVE_FAULTS_RUN="+run+"/") {
				n++
			}
		}
	}
	return n
}

func readResult(t *testing.T, file string) *fault.Result {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var result fault.Result
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	return &result
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
