package manifests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

var built struct {
	sync.Once
	dir, path string
	err       error
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(built.dir)
	os.Exit(code)
}

// program is dougong, built once as it is shipped: without cgo.
func program(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "dougong-manifests-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "dougong")
		cmd := exec.Command("go", "build", "-trimpath", "-o", built.path, "./cmd/dougong")
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 60 * time.Second

// process is dougong with what a Deployment gives it, on ports of the system's choice.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	http, admin string
	log         buffer
	ended       chan struct{}
}

// buffer is written by the process and read by the test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the arguments and the environment of a Deployment, nothing else of which is set: an environment of the test's own
// could hide what is missing. Files of the Secret are where the environment says, below a folder of the test.
func start(t *testing.T, objects []runtime.Object, more ...string) *process {
	t.Helper()
	d := the[*appsv1.Deployment](t, objects)
	p := &process{t: t, cmd: exec.Command(program(t), container(t, d).Args...), ended: make(chan struct{})}
	root := t.TempDir()
	mount := container(t, d).VolumeMounts[0].MountPath
	if err := os.MkdirAll(filepath.Join(root, mount), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range secret(t).Data {
		if err := os.WriteFile(filepath.Join(root, mount, name), data, 0o440); err != nil {
			t.Fatal(err)
		}
	}
	p.cmd.Env = []string{}
	for name, value := range environment(t, d) {
		switch {
		case strings.HasSuffix(name, "_LISTEN"):
			value = ":0" // beyond loopback, as there
		case strings.HasPrefix(value, mount):
			value = root + value
		}
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Env = append(p.cmd.Env, more...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = root, io.Discard, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
			t.Logf("log:\n%s", p.log.String())
		}
	})
	return p
}

// secret is that of the demo; production's is made by people.
func secret(t *testing.T) *corev1.Secret {
	t.Helper()
	return the[*corev1.Secret](t, build(t, "demo"))
}

const demoToken = "dg_demo-token-that-everybody-knows"

var servingLine = regexp.MustCompile(`"msg":"serving","http":"[^"]*:(\d+)","grpc":"[^"]*:\d+","admin":"[^"]*:(\d+)"`)

func (p *process) awaitServing() {
	p.t.Helper()
	p.eventually("serving", func() bool {
		match := servingLine.FindStringSubmatch(p.log.String())
		if match != nil {
			p.http, p.admin = "http://127.0.0.1:"+match[1], "http://127.0.0.1:"+match[2]
		}
		return match != nil
	})
}

func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.ended:
			if ok() {
				return
			}
			p.t.Fatalf("%s: the process has ended: %v", what, p.cmd.ProcessState)
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// ask returns the status and the body, or 0 while nobody answers.
func (p *process) ask(method, url, token, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// TestProcessServesWithTheManifestsEnvironment: every variable is one that it knows, probes and scrapers are answered without a token,
// callers with one.
func TestProcessServesWithTheManifestsEnvironment(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		p := start(t, objects)
		p.awaitServing()
		c := container(t, the[*appsv1.Deployment](t, objects))
		for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
			if status, body := p.ask("GET", p.admin+probe.HTTPGet.Path, "", ""); status != 200 {
				t.Errorf("probe of %s: %d %s", probe.HTTPGet.Path, status, body)
			}
		}
		metrics := the[*appsv1.Deployment](t, objects).Spec.Template.Annotations["prometheus.io/path"]
		if status, body := p.ask("GET", p.admin+metrics, "", ""); status != 200 || !strings.Contains(body, "dougong_lifecycle_state") {
			t.Errorf("scrape: %d %.200s", status, body)
		}
		const question = `{"model":"loan-mini","input":[0.1,0.9]}`
		for token, want := range map[string]int{"": 401, "dg_another": 401, demoToken: 200} {
			if status, body := p.ask("POST", p.http+"/v1/predict", token, question); status != want {
				t.Errorf("prediction with token %q: %d %s, want %d", token, status, body, want)
			}
			if status, body := p.ask("GET", p.admin+"/statusz", token, ""); status != want {
				t.Errorf("status with token %q: %d %.200s, want %d", token, status, body, want)
			}
		}
		if status, body := p.ask("GET", p.admin+"/faults", demoToken, ""); status != 403 {
			t.Errorf("the demo's token injects faults: %d %s", status, body)
		}
		if strings.Contains(p.log.String(), `"level":"WARN"`) || strings.Contains(p.log.String(), `"level":"ERROR"`) {
			t.Errorf("it has something to say against its configuration:\n%s", p.log.String())
		}
	})
}

// TestProcessEndsWithinItsGracePeriod: SIGTERM fails readiness at once, serving goes on for the drain delay, and the end comes
// long before SIGKILL would.
func TestProcessEndsWithinItsGracePeriod(t *testing.T) {
	objects := build(t, "demo")
	p := start(t, objects)
	p.awaitServing()
	told := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.eventually("not ready", func() bool {
		status, _ := p.ask("GET", p.admin+"/readyz", "", "")
		return status == 503
	})
	t.Logf("not ready %v after SIGTERM", time.Since(told).Round(time.Millisecond))
	const question = `{"model":"loan-mini","input":[0.1,0.9]}`
	if status, body := p.ask("POST", p.http+"/v1/predict", demoToken, question); status != 200 {
		t.Errorf("while it drains: %d %s", status, body)
	}
	if status, body := p.ask("GET", p.admin+"/healthz", "", ""); status != 200 {
		t.Errorf("draining is taken for being dead: %d %s", status, body)
	}
	d := the[*appsv1.Deployment](t, objects)
	bound := time.Duration(*d.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	select {
	case <-p.ended:
	case <-time.After(time.Until(told.Add(bound))):
		t.Fatalf("still there after %v", bound)
	}
	took, delay := time.Since(told), settingsOf(t, d).duration(t, "lifecycle.drain_delay")
	t.Logf("ended %v after SIGTERM", took.Round(time.Millisecond))
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || took < delay {
		t.Errorf("exit code %d after %v, with a drain delay of %v", code, took, delay)
	}
}

// TestShortGraceAnswersWhatIsInFlight: with what the page says for 5 s of grace, a request of 3 s that arrives just before the drain delay
// is over is answered, and the process has ended in time.
func TestShortGraceAnswersWhatIsInFlight(t *testing.T) {
	const granted = 5 * time.Second
	var env []corev1.EnvVar
	for _, block := range blocks(t, "yaml") {
		if strings.HasPrefix(block, "- {") {
			if err := yaml.UnmarshalStrict([]byte(block), &env); err != nil {
				t.Fatal(err)
			}
		}
	}
	more := []string{"DOUGONG_FAULTS_FILE=" + slow(t, "inference.score", "3s")}
	var delay time.Duration
	for _, v := range env {
		more = append(more, v.Name+"="+v.Value)
		if v.Name == "DOUGONG_LIFECYCLE_DRAIN_DELAY" {
			var err error
			if delay, err = time.ParseDuration(v.Value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if delay == 0 {
		t.Fatalf("the page has no drain delay for a short grace: %v", env)
	}
	p := start(t, build(t, "demo"), more...)
	p.awaitServing()
	told := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.eventually("not ready", func() bool {
		status, _ := p.ask("GET", p.admin+"/readyz", "", "")
		return status == 503
	})
	time.Sleep(time.Until(told.Add(delay * 9 / 10))) // the moment at which it asks is what is tried
	asked := time.Now()
	status, body := p.ask("POST", p.http+"/v1/predict", demoToken, `{"model":"loan-mini","input":[0.1,0.9]}`)
	if took := time.Since(asked); status != 200 || took < 2900*time.Millisecond {
		t.Errorf("in flight at the end: %d %s after %v", status, body, took)
	}
	<-p.ended
	took := time.Since(told)
	t.Logf("ended %v after SIGTERM, with a request of 3 s in flight from %v on", took.Round(time.Millisecond), asked.Sub(told).Round(time.Millisecond))
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || took > granted {
		t.Errorf("exit code %d after %v of %v", code, took, granted)
	}
}

// TestFailedStartIsExplainedByItsLastLines: what the kubelet keeps of the log, 2 KiB at its end, names the cause, and the exit code tells
// whose it is.
func TestFailedStartIsExplainedByItsLastLines(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		env, want string
		code      int
	}{
		"a variable that there is not": {"DOUGONG_HTP_LISTEN=:8080", "DOUGONG_HTP_LISTEN", 2},
		"times that do not fit":        {"DOUGONG_HTTP_DRAIN_TIMEOUT=30s", "http.drain_timeout", 2},
		"no tokens":                    {"DOUGONG_HTTP_TOKENS_FILE=/nowhere/tokens.json", "http.tokens_file: open /nowhere/tokens.json", 2},
		"no models":                    {"DOUGONG_INFERENCE_REPOSITORY=/nowhere", "inference.repository: open /nowhere", 2},
		"a port that is taken":         {"DOUGONG_HTTP_LISTEN=" + taken.Addr().String(), "listen tcp " + taken.Addr().String(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, build(t, "demo"), c.env)
			select {
			case <-p.ended:
			case <-time.After(patience):
				t.Fatal("still there")
			}
			text := p.log.String()
			if end := text[max(0, len(text)-2048):]; !strings.Contains(end, c.want) || p.cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("exit code %d, want %d; the last lines, which should name %s:\n%s", p.cmd.ProcessState.ExitCode(), c.code, c.want, end)
			}
		})
	}
}

// TestLivenessIsAnsweredBeforeTheModelsAreLoaded is why there is no startup probe: a repository that takes long to read is no reason to
// restart, and the kubelet finds that out by itself.
func TestLivenessIsAnsweredBeforeTheModelsAreLoaded(t *testing.T) {
	rules := slow(t, "inference.repository.read", "20s")
	// Not yet serving, so the log does not say where: a port that was free a moment ago.
	admin := freeAddress(t)
	p := start(t, build(t, "demo"), "DOUGONG_ADMIN_LISTEN="+admin, "DOUGONG_FAULTS_FILE="+rules)
	p.admin = "http://" + admin
	p.eventually("alive", func() bool {
		status, _ := p.ask("GET", p.admin+"/healthz", "", "")
		return status == 200
	})
	p.eventually("loading slowly", func() bool { return strings.Contains(p.log.String(), `"error_code":"fault_injected"`) })
	if status, body := p.ask("GET", p.admin+"/healthz", "", ""); status != 200 {
		t.Errorf("not alive while models are loaded: %d %s", status, body)
	}
	if status, body := p.ask("GET", p.admin+"/readyz", "", ""); status != 503 || !strings.Contains(body, "Initializing") {
		t.Errorf("ready before the models are loaded: %d %s", status, body)
	}
}

// slow is the name of a file with the rule that the first call at a point is delayed.
func slow(t *testing.T, point, by string) string {
	t.Helper()
	document, err := json.Marshal(map[string]any{"version": 1, "rules": []any{map[string]any{
		"id": "slow", "point": point, "count": 1,
		"expires": time.Now().Add(50 * time.Minute).UTC().Format(time.RFC3339), "delay": map[string]string{"fixed": by},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(rules, document, 0o600); err != nil {
		t.Fatal(err)
	}
	return rules
}

// freeAddress is one on loopback that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
