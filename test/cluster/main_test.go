package cluster

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// upEnv makes the test binary a process that starts a cluster in the folder and waits to be killed.
const upEnv = "DOUGONG_CLUSTER_TEST_UP"

// downEnv makes it one that ends the folder's cluster.
const downEnv = "DOUGONG_CLUSTER_TEST_DOWN"

func TestMain(m *testing.M) {
	First()
	if dir := os.Getenv(upEnv); dir != "" {
		os.Exit(upAndWait(dir))
	}
	if dir := os.Getenv(mountEnv); dir != "" {
		os.Exit(mountAndEmpty(dir))
	}
	if dir := os.Getenv(downEnv); dir != "" {
		if err := Down(context.Background(), dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func upAndWait(dir string) int {
	_, err := Up(context.Background(), Config{Dir: dir, Nodes: 2, Tied: os.Getenv(upEnv+"_TIED") != "", Progress: os.Stdout})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("up")
	time.Sleep(5 * time.Minute) // bounds what a killed test leaves
	return 0
}

// needsCluster skips what takes longer than -short allows.
func needsCluster(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Kubernetes")
	}
}

// clusterDir is a folder whose cluster is ended after the test. Then nothing is left of it, and the machine is as it was.
func clusterDir(t *testing.T) string {
	t.Helper()
	before := machine(t)
	parent, err := os.MkdirTemp("", "dougong-cluster-test-") // t.TempDir would remove it, with what is mounted there
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "c")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downTime)
		defer cancel()
		begun := time.Now()
		if err := Down(ctx, dir); err != nil {
			t.Error(err)
		}
		t.Logf("down in %s", time.Since(begun).Round(time.Millisecond))
		wantNothing(t, dir)
		if err := os.Remove(parent); err != nil {
			t.Error(err)
		}
		if after := machine(t); !maps.Equal(before, after) {
			t.Errorf("the machine was\n%v\nand is\n%v", before, after)
		}
	})
	return dir
}

func wantNothing(t *testing.T, dir string) {
	t.Helper()
	left, err := Remains(dir)
	if err != nil {
		t.Error(err)
	}
	if len(left) > 0 {
		t.Errorf("%d things remain: %q", len(left), left[:min(len(left), 10)])
	}
}

// machine is what a cluster must not change.
func machine(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	for path := range sysctls {
		m[path] = read(path)
	}
	m["ip_forward"] = read("/proc/sys/net/ipv4/ip_forward")
	m["mounts"] = read("/proc/self/mounts")
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		m["links"] += l.Name + " "
	}
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/*")
	for _, path := range tops {
		if name := filepath.Base(path); strings.HasPrefix(name, "kubepods") || name == "k8s.io" {
			m["cgroups"] += path + " "
		}
	}
	for _, path := range []string{"/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/run/containerd", "/run/netns", "/var/log/pods", "/var/log/containers", "/etc/cni", "/opt/containerd", "/usr/libexec/kubernetes"} {
		_, err := os.Stat(path)
		m[path] = fmt.Sprint(err == nil)
	}
	return m
}

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// buildImage packs the program of testdata/echo.
func buildImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "echo"), "./testdata/echo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(dir, "echo.tar")
	image := Image{Name: echoImage, Files: map[string]string{"/echo": filepath.Join(dir, "echo")}, Entrypoint: []string{"/echo"}, User: "65532:65532"}
	if err := WriteImage(file, image); err != nil {
		t.Fatal(err)
	}
	return file
}

const echoImage = "dougong.test/echo:1"

// within calls f until it returns nil.
func within(t *testing.T, bound time.Duration, f func() error) {
	t.Helper()
	begun := time.Now()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Since(begun) > bound {
			t.Fatalf("after %s: %v", bound, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
