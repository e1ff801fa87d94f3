//go:build linux

package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
)

var program string

func TestMain(m *testing.M) { os.Exit(testenv.Main(m, &program)) }

// long tells whether the tests run as `make chaos-workers` asks for.
func long() bool { return os.Getenv("DOUGONG_LONG") == "1" }

// needsTime skips where tests are to be short. The race detector, which asks for that, does not look into other processes.
func needsTime(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("holds processes under load for 10 s and more")
	}
}

const patience = 60 * time.Second

// library is the folder with ONNX Runtime. Where it is missing the tests fail: they would prove nothing.
func library(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("../../scripts/onnx.sh", "--check").Output()
	if err != nil {
		t.Fatal("ONNX Runtime is not installed; run make deps, or make install-onnx")
	}
	return strings.TrimSpace(string(out))
}

// build builds the worker, with faults in its native code if asked for.
func build(t *testing.T, dir string, tags ...string) string {
	t.Helper()
	path := filepath.Join(dir, "dougong-onnx-worker")
	cmd := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", path, "../../cmd/dougong-onnx-worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// repository lays out a model that workers serve, whose fallback is a small one of trees: the same loans.
func repository(t *testing.T, dir string) string {
	t.Helper()
	const models = "../../examples/models"
	root := filepath.Join(dir, "models")
	if err := os.CopyFS(filepath.Join(root, "loan-lite"), os.DirFS(models+"/loan-lite")); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(root, "loan", "1")
	if err := os.MkdirAll(version, 0o755); err != nil {
		t.Fatal(err)
	}
	onnx, err := os.ReadFile("../../examples/data/loan-default/loan_default_full.onnx")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(models + "/loan-default/1/model.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(onnx)
	text := regexp.MustCompile(`(?m)^sha256: .*$`).ReplaceAllString(string(manifest), "sha256: "+hex.EncodeToString(sum[:]))
	text = regexp.MustCompile(`(?m)^objective: .*\n`).ReplaceAllString(text, "")
	text = strings.Replace(text, "file: model.json", "file: loan.onnx", 1)
	text = regexp.MustCompile(`(?m)^  tolerance: .*$`).ReplaceAllString(text, "  tolerance: 1e-5") // XGBoost's own sums
	for name, data := range map[string][]byte{
		filepath.Join(version, "loan.onnx"):        onnx,
		filepath.Join(version, "model.yaml"):       []byte(text),
		filepath.Join(root, "loan", "policy.yaml"): []byte("serve: \"1\"\nfallback:\n  model: loan-lite\n"),
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// process is a running service.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	http, admin string
	log         testenv.Buffer
	ctx         context.Context // ends with the process
	ended       chan struct{}
}

var servingLine = regexp.MustCompile(`"msg":"serving","http":"([^"]+)".*"admin":"([^"]+)"`)

// up starts the service on the repository, with a worker that has the given tags. The worker finds ORT_ variables of env in its environment too.
func up(t *testing.T, tags []string, env ...string) *process {
	t.Helper()
	dir := t.TempDir()
	worker := build(t, dir, tags...)
	p := &process{t: t, ended: make(chan struct{})}
	config := filepath.Join(dir, "dougong.yaml")
	text := fmt.Sprintf("http:\n  access_log: false\ninference:\n  repository: %s\n  default_model: loan\n  engines:\n    onnx:\n      command: %s\n", repository(t, dir), worker)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(program, "run", "inference", "--config", config)
	p.cmd.Env = testenv.Environment(append([]string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s", "ORT_LIBRARY=" + library(t)}, env...))
	p.cmd.Stderr = &p.log
	testenv.EndWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	p.ctx = ctx
	go func() {
		p.cmd.Wait()
		cancel(fmt.Errorf("the process has ended: %v", p.cmd.ProcessState))
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("its log ends:\n%s", tail(p.log.String(), 60))
		}
	})
	p.eventually("serving", func() bool {
		match := servingLine.FindStringSubmatch(p.log.String())
		if match != nil {
			p.http, p.admin = "http://"+match[1], "http://"+match[2]
		}
		return match != nil
	})
	return p
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if p.ctx.Err() != nil {
			p.t.Fatalf("%s: %v", what, context.Cause(p.ctx))
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// stop ends the service as a platform would, and sees that nothing of it is left.
func (p *process) stop() {
	p.t.Helper()
	pids := p.workers()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("it does not end in %v", patience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("exit code %d", code)
	}
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			p.t.Errorf("worker %d has outlived it", pid)
		}
	}
}

// workers are the processes that it has started and that have not ended, as the kernel knows them.
func (p *process) workers() []int { return p.children(p.cmd.Process.Pid) }

func (p *process) children(of int) (pids []int) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", of))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && !slices.Contains(pids, pid) && state(pid) != 'Z' {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// state is the kernel's letter for a process, 0 if there is none.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(stat), ") ")
	if !ok {
		return 0
	}
	return rest[0]
}

// twoServe waits until both workers do, as the service and the kernel know.
func (p *process) twoServe() {
	p.t.Helper()
	p.eventually("two workers", func() bool {
		return len(p.workers()) == 2 && p.metric(`dougong_inference_ready_workers{model="loan"`) == 2
	})
}

func (p *process) get(url string) (int, string) {
	p.t.Helper()
	res, err := http.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (p *process) post(path, body string) (int, string) {
	p.t.Helper()
	res, err := http.Post(p.http+path, "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// metric is the sum of the samples whose name and labels begin so.
func (p *process) metric(prefix string) (sum float64) {
	p.t.Helper()
	_, text := p.get(p.admin + "/metrics")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			fields := strings.Fields(line)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				p.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}
