package triton

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
)

// program is dougong under test, built once as it is shipped: without cgo.
var program string

func TestMain(m *testing.M) { os.Exit(testenv.Main(m, &program)) }

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 5 * time.Minute

// server is a running dougong, by the addresses that it listens on.
type server struct{ http, grpc, admin string }

var servingLine = regexp.MustCompile(`"msg":"serving","http":"([^"]+)","grpc":"([^"]+)","admin":"([^"]+)"`)

// up starts a server on ports of the system's choice, and waits until it serves.
func up(t *testing.T) server {
	t.Helper()
	var stderr testenv.Buffer
	cmd := exec.Command(program, "up")
	cmd.Env = testenv.Environment([]string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s"})
	cmd.Stderr = &stderr
	testenv.EndWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the end of the server's standard error:\n%s", tail(stderr.String()))
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if match := servingLine.FindStringSubmatch(stderr.String()); match != nil {
			return server{match[1], match[2], match[3]}
		}
		select {
		case <-ended:
			t.Fatalf("the server has ended: %v", cmd.ProcessState)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("not serving in %v", patience)
		}
	}
}

// tail is what a person reads of a long text: its end.
func tail(text string) string {
	const most = 4 << 10
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// clients is the folder in which scripts/clients.sh has installed them.
func clients(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../scripts/clients.sh", "--check").Output()
	if err != nil {
		t.Fatalf("the clients are needed: %v; run make deps", err)
	}
	return strings.TrimSpace(string(out))
}

// run runs a program to its end, in dir, with variables on top of the test's own, and returns what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, testenv.Environment(env)
	testenv.EndWithParent(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(string(out)))
	}
	return string(out)
}
