package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEverythingMissingIsSaidAtOnce(t *testing.T) {
	_, noCgroups := findHierarchies(nil)
	err := missing(1000, func(string) (string, error) { return "", os.ErrNotExist }, noCgroups)
	if !errors.Is(err, ErrImpossible) {
		t.Fatal(err)
	}
	for _, want := range []string{"not root", "no containerd, ctr", "no runc", "no nft", "install.sh", "no cgroups"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := missing(0, func(string) (string, error) { return "", nil }, nil); err != nil {
		t.Error(err)
	}
}

func TestPortInUseIsSaidAndNothingRemains(t *testing.T) {
	needsCluster(t)
	dir := clusterDir(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = Up(t.Context(), Config{Dir: dir, Nodes: 1, Port: other.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Error(err)
	}
	wantNothing(t, dir)
}

// An image that is none lets the start fail when all programs run.
func TestFailedStartLeavesItsLogsAlone(t *testing.T) {
	needsCluster(t)
	dir := clusterDir(t)
	bad := filepath.Join(t.TempDir(), "bad.tar")
	if err := os.WriteFile(bad, []byte("no tar"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Up(t.Context(), Config{Dir: dir, Nodes: 1, Images: []string{bad}})
	if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), failedLogs(dir)) {
		t.Errorf("%v", err)
	}
	left, err := Remains(dir)
	if err != nil || len(left) != 1 || left[0] != "folder "+failedLogs(dir) {
		t.Errorf("%v, %q", err, left)
	}
	if logs, err := os.ReadDir(failedLogs(dir)); err != nil || len(logs) == 0 {
		t.Errorf("%v, %d logs", err, len(logs))
	}
}

func TestClusterEndsWithOneOfItsPrograms(t *testing.T) {
	needsCluster(t)
	dir := clusterDir(t)
	c, err := Up(t.Context(), Config{Dir: dir, Nodes: 1, Progress: logWriter{t}})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := processesIn(c.cgroup)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if strings.Contains(read("/proc/"+itoa(id)+"/cmdline"), "kube-scheduler") {
			killIn(c.cgroup, id)
		}
	}
	within(t, 10*time.Second, func() error {
		left, err := processesIn(c.cgroup)
		if err == nil && len(left) > 0 {
			err = errors.New("it runs")
		}
		return err
	})
	if _, err := Attach(dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "kube-scheduler was killed") {
		t.Error(err)
	}
}

func TestForeignFolderIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := lock(dir); err == nil || f != nil {
		t.Error("locked")
	}
	if err := Down(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "no cluster's folder") {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// mountEnv makes the test binary a process, in a mount namespace of its own, that mounts something in the folder and
// removes the folder.
const mountEnv = "DOUGONG_CLUSTER_TEST_MOUNT"

func mountAndEmpty(dir string) int {
	if err := bind(filepath.Join(filepath.Dir(dir), "others"), filepath.Join(dir, "mounted"), true); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := empty(dir); err == nil || !strings.Contains(err.Error(), "is mounted") {
		fmt.Println("emptied, with", err)
		return 1
	}
	return 0
}

func TestWhatIsMountedIsNotRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	parent := t.TempDir()
	others, dir := filepath.Join(parent, "others"), filepath.Join(parent, "c")
	for _, d := range []string{others, dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(others, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), mountEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestDownOfNothingIsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if err := Down(t.Context(), dir); err != nil {
		t.Error(err)
	}
	wantNothing(t, dir)
	if _, err := Attach(dir); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestOneLockAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	first, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("second lock: %v", err)
	}
	first.Close()
	again, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
