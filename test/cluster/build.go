package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// kubernetesVersion is the one that go.mod requires, which the programs are to say that they are.
const kubernetesVersion = "v1.36.3"

const modulePath = "github.com/dougong-io/dougong/test/cluster"

// built are the main packages of the cluster's programs, all of go.mod.
var built = []struct{ name, of string }{
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
	{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
	{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
	{"metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"},
	{"pause", modulePath + "/pause"},
}

var buildFlags = []string{"-trimpath", "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=" + kubernetesVersion}

// Build builds the programs, if they are not in the user's cache, and returns the folder that they are in. The folder is
// named for the version of Kubernetes, and for what else decides what is built: go.mod, go.sum, Go, and the flags. It
// takes minutes the first time, and half a gigabyte; lines about it go to progress. An older folder may be deleted. Concurrent calls, of other processes too, build once.
func Build(ctx context.Context, progress io.Writer) (string, error) {
	source, dir, err := findBuild(ctx)
	if err != nil {
		return "", err
	}
	if isBuilt(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make the folder of the cache: %w", err)
	}
	unlock, err := lockBuild(ctx, dir+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if isBuilt(dir) { // by who had the lock
		return dir, nil
	}
	if err := build(ctx, source, dir, progress); err != nil {
		return "", err
	}
	return dir, nil
}

// Built returns an error that says so if Build would have something to build.
func Built(ctx context.Context) error {
	_, dir, err := findBuild(ctx)
	if err == nil && !isBuilt(dir) {
		err = fmt.Errorf("there is nothing in %s: it has to be built", dir)
	}
	return err
}

// findBuild finds what to build, and the folder of what was built of it.
func findBuild(ctx context.Context) (source, dir string, err error) {
	if source, err = findSource(); err != nil {
		return "", "", err
	}
	key, err := buildKey(ctx, source)
	if err != nil {
		return "", "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", fmt.Errorf("find the folder of the cache: %w", err)
	}
	return source, filepath.Join(cache, "dougong", "kubernetes-"+kubernetesVersion+"-"+key), nil
}

func isBuilt(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "ready"))
	return err == nil
}

// findSource is the folder of this module, which has the go.mod to build by: above the working directory, as that of a
// test is, or test/cluster of a folder above it.
func findSource() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module %s: %w", modulePath, err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "test", "cluster")} {
			data, err := os.ReadFile(filepath.Join(candidate, "go.mod"))
			if err == nil && strings.HasPrefix(string(data), "module "+modulePath+"\n") {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("the module %s is not found from %s: run it within the repository", modulePath, wd)
		}
	}
}

func buildKey(ctx context.Context, source string) (string, error) {
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("ask Go for its version: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q", version, buildFlags, built)
	for _, name := range []string{"go.mod", "go.sum", "pause/main.go"} {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", fmt.Errorf("read what is built by: %w", err)
		}
		fmt.Fprintf(h, "%d %s", len(data), data)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

func lockBuild(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the build: %w", err)
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock the build: %w", err)
		}
		if !told {
			say(progress, "another process builds Kubernetes; waiting for it")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another process's build: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// build makes dir whole, or not at all. One go build makes all of them, so that it links the one while it compiles the
// next.
func build(ctx context.Context, source, dir string, progress io.Writer) error {
	say(progress, "building etcd, Kubernetes %s and metrics-server into %s, once; minutes on a small machine", kubernetesVersion, dir)
	begun := time.Now()
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("remove an unfinished build: %w", err)
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return fmt.Errorf("make the folder of the build: %w", err)
	}
	args := append([]string{"build", "-o", part + "/"}, buildFlags...)
	for _, b := range built {
		args = append(args, b.of)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	if nice, err := exec.LookPath("nice"); err == nil { // it is long, and others work here too
		cmd = exec.CommandContext(ctx, nice, append([]string{"-n", "10", "go"}, args...)...)
	}
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // go then ends its compilers
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go build: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if err := watchBuild(done, part, begun, progress); err != nil {
		return fmt.Errorf("build Kubernetes: %w\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	for _, b := range built {
		if err := os.Rename(filepath.Join(part, outputName(b.of)), filepath.Join(part, b.name)); err != nil {
			return fmt.Errorf("build Kubernetes: %w", err)
		}
	}
	pause := Image{Name: pauseImage, Files: map[string]string{"pause": filepath.Join(part, "pause")}, Entrypoint: []string{"/pause"}, User: "65535:65535"}
	if err := WriteImage(filepath.Join(part, "pause.tar"), pause); err != nil {
		return err
	}
	if err := write(filepath.Join(part, "ready"), nil); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("replace an older build: %w", err)
	}
	if err := os.Rename(part, dir); err != nil {
		return fmt.Errorf("keep the build: %w", err)
	}
	say(progress, "built in %s", time.Since(begun).Round(time.Second))
	return nil
}

// outputName is what go build calls the program of a main package: the last element of its path that is no major version.
func outputName(of string) string {
	if base := path.Base(of); len(base) < 2 || base[0] != 'v' || strings.Trim(base[1:], "0123456789") != "" {
		return base
	}
	return path.Base(path.Dir(of))
}

// watchBuild says which programs are there, as they come, and now and then that it is still at work.
func watchBuild(done <-chan error, part string, begun time.Time, progress io.Writer) error {
	there := map[string]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		since := time.Since(begun).Round(time.Second)
		for _, b := range built {
			if _, err := os.Stat(filepath.Join(part, outputName(b.of))); err == nil && !there[b.name] {
				there[b.name] = true
				last = time.Now()
				say(progress, "%4s  %s (%d of %d)", since, b.name, len(there), len(built))
			}
		}
		if time.Since(last) > 30*time.Second {
			last = time.Now()
			say(progress, "%4s  compiling …", since)
		}
	}
}

func say(progress io.Writer, format string, args ...any) {
	if progress != nil {
		fmt.Fprintf(progress, "cluster: "+format+"\n", args...)
	}
}
