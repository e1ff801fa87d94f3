package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Kubeconfig is the path of a kubeconfig that may do everything. It works within the cluster's namespaces and outside.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.config.Dir, "kubeconfig") }

// Client is a client that may do everything.
func (c *Cluster) Client() *kubernetes.Clientset { return c.client }

// REST is the configuration of another client. The caller owns it.
func (c *Cluster) REST() *rest.Config { return rest.CopyConfig(c.rest) }

// Programs is the folder with the programs that were built, kubectl among them.
func (c *Cluster) Programs() string { return c.bin }

// Logs is the folder with a log of each of the cluster's programs.
func (c *Cluster) Logs() string { return filepath.Join(c.config.Dir, "log") }

// enterNetwork makes a shell one of the cluster's processes, which end with it, and then the command, in its network.
const enterNetwork = `echo $$ >"$1" && first=$2 && shift 2 && exec nsenter --target "$first" --net -- "$@"`

// Command is a command that runs in the cluster's network, where pods and services have addresses, and ends with the
// cluster. All else is as it is outside: folders, the working directory, and signals, which go to the command itself. It
// finds kubectl, with KUBECONFIG set.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	shell := []string{"-c", enterNetwork, "cluster", c.procs, strconv.Itoa(c.first), name}
	cmd := exec.CommandContext(ctx, "sh", append(shell, args...)...)
	cmd.Env = c.environment()
	return cmd
}

// containerd is a command that sees what the nodes' containerds see.
func (c *Cluster) containerd(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(c.first), "--mount", "--net", "--pid", "--", name}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = c.environment()
	return cmd
}

// environment keeps what kubectl remembers in the cluster's folder.
func (c *Cluster) environment() []string {
	return append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(c.config.Dir, "kubectl"), "PATH="+c.path())
}

// DialContext connects from within the cluster's network namespace, where pods and services have addresses. There is no
// DNS: the address is a number. It suits http.Transport.DialContext and grpc.WithContextDialer.
func (c *Cluster) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s in the cluster: not the number of an address with a port", address)
	}
	inNamespace := func() error {
		theirs, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.first))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		defer theirs.Close()
		runtime.LockOSThread() // never unlocked: the thread, which is in the cluster's network now, ends with the goroutine
		if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the cluster's network: %w", err)
		}
		// The socket is made by the calling thread: to a number, Go dials on the caller's.
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	}
	done := make(chan error)
	go func() { done <- inNamespace() }()
	if err := <-done; err != nil {
		return nil, err
	}
	return conn, nil
}
