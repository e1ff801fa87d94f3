package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asContainer makes the test binary what a container runtime is between the fork and the start of the entrypoint.
const asContainer = "IMAGE_TEST_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(asContainer); root != "" {
		fmt.Fprintln(os.Stderr, enter(root))
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// enter becomes the program of os.Args in a root file system that nobody can write to, with nothing but /proc mounted,
// as the image's user without any privilege. It runs in namespaces of its own, which end with it.
func enter(root string) error {
	for _, step := range []func() error{
		func() error { return syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, "") },
		func() error { return syscall.Mount(root, root, "", syscall.MS_BIND, "") },
		func() error { return syscall.Mount("proc", filepath.Join(root, "proc"), "proc", 0, "") },
		func() error {
			return syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
		},
		func() error { return syscall.Chroot(root) },
		func() error { return os.Chdir("/") },
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setgid(65532) },
		func() error { return syscall.Setuid(65532) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	environ := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, asContainer+"=") })
	return syscall.Exec(os.Args[1], os.Args[1:], environ)
}

// needsRoot skips where namespaces cannot be had.
func needsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to make namespaces")
	}
	if err := exec.Command("unshare", "-m", "-p", "-f", "true").Run(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
}

var imageOnce = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "image.tar")
	var stderr strings.Builder
	if code := run(context.Background(), []string{"-o", file}, nil, io.Discard, &stderr); code != exitOK {
		return nil, errors.New(stderr.String())
	}
	return os.ReadFile(file)
})

// unpack is the real image, of the tree as it is, on disk.
func unpack(t *testing.T) (root string, l *loaded) {
	t.Helper()
	clonedRoot(t)
	data, err := imageOnce()
	if err != nil {
		t.Fatal(err)
	}
	if l, err = load(data); err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	for _, dir := range []string{root, filepath.Dir(root)} { // the user must be able to pass
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range l.files {
		if err := os.WriteFile(filepath.Join(root, f.head.Name), f.data, os.FileMode(f.head.Mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o555); err != nil { // a runtime makes what it mounts on
		t.Fatal(err)
	}
	return root, l
}

// container is the image's own command with the image's own environment, and what a manifest adds.
func container(t *testing.T, root string, l *loaded, environ ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := l.config.Config
	// One that serves where it should refuse, or does not stop, fails the test rather than holding it up.
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	cmd := exec.CommandContext(ctx, self, append(slices.Clone(cfg.Entrypoint), cfg.Cmd...)...)
	cmd.Env = append(slices.Clone(cfg.Env), asContainer+"="+root,
		"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s")
	cmd.Env = append(cmd.Env, environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// TestImageServesWithoutAnything runs it with a root file system that is read-only and has neither /tmp nor a home.
func TestImageServesWithoutAnything(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole binary")
	}
	needsRoot(t)
	root, l := unpack(t)
	cmd := container(t, root, l)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var linked, serving bool
	var rest []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var line struct {
			Msg, HTTP, Libc  string
			Static, Hardened bool
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("%s", lines.Text())
			continue
		}
		rest = append(rest, lines.Text())
		switch line.Msg {
		case "linked":
			linked = line.Libc == "none" && line.Static && line.Hardened
		case "serving":
			serving = true
			t.Logf("serves %v after its start", time.Since(began).Round(time.Millisecond))
			answer, err := http.Get("http://" + line.HTTP + "/readyz")
			if err != nil {
				t.Error(err)
			} else {
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("/readyz: %s", answer.Status)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !linked || !serving {
		t.Errorf("%v; says what it is linked to: %v; serves: %v\n%s", err, linked, serving, strings.Join(rest, "\n"))
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 2 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestImageRefusesAnEnvironmentThatChangesIt: hardened mode is on without anybody asking for it.
func TestImageRefusesAnEnvironmentThatChangesIt(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole binary")
	}
	needsRoot(t)
	root, l := unpack(t)
	for _, variable := range []string{"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GODEBUG"} {
		out, err := container(t, root, l, variable+"=x=1").CombinedOutput()
		exit, exited := errors.AsType[*exec.ExitError](err)
		if !exited || exit.ExitCode() != 2 || !strings.Contains(string(out), "hardened mode: "+variable+" is set") || !strings.Contains(string(out), "unset it") {
			t.Errorf("%s: %v, %s", variable, err, out)
		}
	}
}

// TestContainerdImportsTheImage asks a containerd with folders of its own, as a node would.
func TestContainerdImportsTheImage(t *testing.T) {
	for _, program := range []string{"containerd", "ctr"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("needs %s, which test/cluster/install.sh installs", program)
			}
			t.Skipf("needs %s (test/cluster/install.sh installs it)", program)
		}
	}
	needsRoot(t)
	dir := t.TempDir()
	sockets, err := os.MkdirTemp("", "c") // the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	address := filepath.Join(sockets, "c")
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = %q
[ttrpc]
  address = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), address, address+"t")
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	daemon := exec.Command("containerd", "--config", file)
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		if t.Failed() {
			t.Logf("containerd: %s", log.String())
		}
	})
	ctr := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "ctr", append([]string{"--address", address, "--connect-timeout", "30s", "-n", "k8s.io"}, args...)...).CombinedOutput()
		return string(out), err
	}
	p := small(t)
	image := written(t, p)
	if out, err := ctr("images", "import", "--snapshotter", "native", "--platform", "linux/amd64", image); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l := loadedFrom(t, image)
	out, err := ctr("images", "ls")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "ghcr.io/dougong-io/dougong:dev ") || !strings.Contains(lines[1], l.desc.Digest.String()) || !strings.Contains(lines[1], "linux/amd64") {
		t.Errorf("it has\n%s", out)
	}
	if out, err = ctr("images", "check", "--snapshotter", "native"); err != nil || !strings.Contains(out, "complete (2/2)") {
		t.Errorf("%v: %s", err, out)
	}
}
