package loadcmd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	dougongload "github.com/dougong-io/dougong/prove/load"

	"github.com/dougong-io/dougong/test/testenv"
)

func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/load.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// runnable are the commands of the page that are to be run: those in fences that begin with ```sh run, without
// `dougong up`, which the test does itself.
func runnable(text string) (commands []string) {
	for _, block := range regexp.MustCompile("(?ms)^```sh run\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		for _, command := range strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n") {
			command, _, _ = strings.Cut(command, "   #")
			if command = strings.TrimSpace(command); command != "" && command != "dougong up" {
				commands = append(commands, command)
			}
		}
	}
	return commands
}

// shortened makes a run of the page last a second or two, at the same rates.
var shortened = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`--for \S+`), "--for 1s"},
	{regexp.MustCompile(`(--steps \S+)/\w+:`), "$1/150ms:"},
	{regexp.MustCompile(`(--ramp \S+)/\w+`), "$1/1s"},
	{regexp.MustCompile(`(--sine \S+)/\w+`), "$1/1s"},
	{regexp.MustCompile(`--budget \S+`), "--budget 6s"},
	{regexp.MustCompile(`--speed \S+`), "--speed 3"},
}

// TestCommandsOfThePage runs what docs/load.md shows, as it is but shorter and on other ports, in the order of the
// page, from a folder that looks like the root of the repository.
func TestCommandsOfThePage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate(t, dir)
	ports := strings.NewReplacer(
		"127.0.0.1:8080", up(t),
		"127.0.0.1:8443", up(t, "DOUGONG_HTTP_TLS_CERT_FILE="+dir+"/cert.pem", "DOUGONG_HTTP_TLS_KEY_FILE="+dir+"/key.pem"),
		"127.0.0.1:50051", grpcServer(t),
		"127.0.0.1:7070", echo(t),
	)
	copyExamples(t, dir, ports)
	commands := runnable(page(t))
	if len(commands) < 15 {
		t.Fatalf("the page has %d commands to run", len(commands))
	}
	for _, command := range commands {
		for _, s := range shortened {
			command = s.pattern.ReplaceAllString(command, s.by)
		}
		command = ports.Replace(command)
		runOfPage(t, dir, command)
	}
}

func runOfPage(t *testing.T, dir, command string) {
	t.Helper()
	loads := strings.HasPrefix(command, "dougong load ") && !regexp.MustCompile(`^dougong load (report|schema|plan)\b`).MatchString(command)
	result := "of-the-page.json"
	if match := regexp.MustCompile(`--json (\S+)`).FindStringSubmatch(command); match != nil {
		result = match[1]
	} else if loads {
		command += " --json " + result
	}
	p := &process{t: t, cmd: exec.Command("sh", "-c", command)}
	p.cmd.Dir, p.cmd.Env = dir, testenv.Environment([]string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH")}, "TERM", "NO_COLOR")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.run()
	code := p.exit()
	// A busy machine may break an objective or leave nothing to judge; it must not make a request fail.
	if code != 0 && (!loads || code != 1 && code != 3) {
		t.Errorf("exit code %d: %s\n%s", code, command, p.stderr.String())
		return
	}
	if !loads {
		return
	}
	r := readJSON(t, filepath.Join(dir, result))
	if r.Total.OK == 0 || len(r.Total.Failed) > 0 || r.Total.OK+r.Total.Unfinished != r.Total.Due {
		t.Errorf("exit code %d, due %d, good %d, failed %v: %s\n%v", code, r.Total.Due, r.Total.OK, r.Total.Failed, command, r.Errors)
	}
	if code != 0 && len(r.SLO) == 0 {
		t.Errorf("exit code %d without an objective: %s\n%s", code, command, p.stderr.String())
	}
}

// copyExamples copies the folder that the page's commands read, with the plans on other ports and shorter.
func copyExamples(t *testing.T, dir string, ports *strings.Replacer) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "examples/load"), os.DirFS("../../examples/load")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root(t), "examples/data"), filepath.Join(dir, "examples/data")); err != nil {
		t.Fatal(err)
	}
	plans, err := filepath.Glob(filepath.Join(dir, "examples/load/*.yaml"))
	if err != nil || len(plans) == 0 {
		t.Fatal("there is no plan in examples/load", err)
	}
	for _, plan := range plans {
		text, err := os.ReadFile(plan)
		if err != nil {
			t.Fatal(err)
		}
		shorter := regexp.MustCompile(`(length|period): \d+s`).ReplaceAllString(ports.Replace(string(text)), "$1: 400ms")
		if err := os.WriteFile(plan, []byte(shorter), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// certificate writes cert.pem and key.pem for 127.0.0.1.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// grpcServer serves grpc.health.v1 with reflection.
func grpcServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// echo is a WebSocket that sends back each message.
func echo(t *testing.T) string {
	t.Helper()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for {
				message, op, err := wsutil.ReadClientData(conn)
				if err != nil || wsutil.WriteServerMessage(conn, op, message) != nil {
					return
				}
			}
		}()
	})
	return strings.TrimPrefix(url, "http://")
}

func TestPageNamesEveryFlagAndClass(t *testing.T) {
	t.Parallel()
	text := page(t)
	_, help, _ := load(t, "--help")
	flags := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z-]+)`).FindAllStringSubmatch(help, -1)
	if len(flags) < 30 {
		t.Fatalf("the help lists %d flags", len(flags))
	}
	for _, flag := range flags {
		if flag[1] != "--help" && !regexp.MustCompile(flag[1]+`\b[^-]`).MatchString(text) {
			t.Errorf("the page does not name %s", flag[1])
		}
	}
	for _, class := range dougongload.Classes() {
		if !strings.Contains(text, "| `"+string(class)+"` |") {
			t.Errorf("the page does not explain the class %s", class)
		}
	}
}

// TestPageNamesTestsThatExist: a guarantee is worth as much as the test beside it.
func TestPageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	var tests []string
	for _, folder := range []string{"../../prove", "../../test"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(source), -1) {
				tests = append(tests, match[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(page(t), -1)
	if len(named) < 10 {
		t.Fatalf("the page names %d tests", len(named))
	}
	for _, name := range named {
		if !slices.Contains(tests, name[1]) {
			t.Errorf("there is no test %s", name[1])
		}
	}
}

// TestGoOfThePageIsThatOfTheExample: each line of the page's Go stands in the example that the package runs.
func TestGoOfThePageIsThatOfTheExample(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../prove/load/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindStringSubmatch(page(t))
	if block == nil {
		t.Fatal("the page has no Go")
	}
	for _, line := range strings.Split(block[1], "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "t.") && !strings.Contains(string(example), line) {
			t.Errorf("the example does not have the line %s", line)
		}
	}
}
