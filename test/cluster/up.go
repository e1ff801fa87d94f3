package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is one that runs. It is safe for concurrent use.
type Cluster struct {
	config Config
	cgroup string
	bin    string
	first  int    // id of the first process
	procs  string // the file that takes processes into the cluster's cgroup
	rest   *rest.Config
	client *kubernetes.Clientset
	life   *os.File // keeps a tied cluster alive
}

// Up starts a cluster and returns when each node is ready and a pod can be made. What an earlier one left in the folder
// when it was killed is removed first. If it cannot be started, nothing is left of it but its logs, named by the error.
func Up(ctx context.Context, config Config) (*Cluster, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := possible(); err != nil {
		return nil, err
	}
	bin, err := Build(ctx, config.Progress)
	if err != nil {
		return nil, err
	}
	config.Images = slices.Clone(config.Images)
	for i, image := range config.Images {
		if config.Images[i], err = filepath.Abs(image); err != nil {
			return nil, fmt.Errorf("find the image: %w", err)
		}
	}
	locked, err := lock(config.Dir)
	if err != nil {
		return nil, err
	}
	defer locked.Close() // the first process has it, too
	c, err := start(ctx, config, bin, locked)
	if err != nil {
		return nil, errors.Join(err, c.giveUp(config.Dir, locked))
	}
	return c, nil
}

func start(ctx context.Context, config Config, bin string, locked *os.File) (*Cluster, error) {
	name := cgroupName(config.Dir)
	if err := sweep(ctx, config.Dir, name, config.Progress); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(failedLogs(config.Dir)); err != nil {
		return nil, fmt.Errorf("remove the logs of an earlier start: %w", err)
	}
	listener, err := listen(config.Port)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	config.Port = listener.Addr().(*net.TCPAddr).Port
	p := plan{Config: config, Bin: bin, Cgroup: name}
	if err := p.layout(); err != nil {
		return nil, err
	}
	if err := makeCgroups(name, config.Nodes); err != nil {
		return nil, err
	}
	c := &Cluster{config: config, cgroup: name, bin: bin}
	ended, err := c.startFirst(listener, locked)
	if err != nil {
		return nil, err
	}
	if err := c.connect(); err != nil {
		return c, err
	}
	return c, c.awaitReady(ctx, ended)
}

func listen(port int) (*net.TCPListener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d of 127.0.0.1, for the API, is in use: name another (-port), or 0 for a free one: %w", port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	return listener.(*net.TCPListener), nil
}

// startFirst starts the first process of the namespaces: this program again. It hands over the port, which belongs to
// the machine's network namespace wherever it is accepted on.
func (c *Cluster) startFirst(listener *net.TCPListener, locked *os.File) (ended <-chan error, err error) {
	port, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("hand over the API's port: %w", err)
	}
	defer port.Close()
	log, err := os.Create(filepath.Join(c.config.Dir, "log", "first.log"))
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"dougong-cluster"}
	// Not the caller's: a proxy or a GODEBUG that it names is not meant for the cluster.
	cmd.Env = []string{firstEnv + "=" + c.config.Dir, "PATH=" + c.path(), "HOME=" + inside, "LANG=C"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{locked, port}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	if c.config.Tied {
		theirs, ours, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("tie the cluster to this process: %w", err)
		}
		defer theirs.Close()
		c.life = ours
		cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			err = fmt.Errorf("%w: new namespaces are refused; a container needs to be privileged", ErrImpossible)
		}
		return nil, fmt.Errorf("start the cluster's first process: %w", err)
	}
	c.first = cmd.Process.Pid
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends when the cluster does
	return done, nil
}

// path is where the cluster's programs, and commands within it, are looked for.
func (c *Cluster) path() string {
	return c.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.Getenv("PATH")
}

func (c *Cluster) connect() (err error) {
	if c.procs, err = procsOf(c.cgroup); err != nil {
		return err
	}
	c.rest, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read the cluster's kubeconfig: %w", err)
	}
	c.rest.QPS, c.rest.Burst = 200, 400 // a test's client need not spare the server
	c.client, err = kubernetes.NewForConfig(c.rest)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return nil
}

// giveUp removes what a start that failed has made, except for its logs.
func (c *Cluster) giveUp(dir string, locked *os.File) error {
	if c != nil && c.life != nil {
		c.life.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), downTime)
	defer cancel()
	if err := removeProcesses(ctx, cgroupName(dir)); err != nil {
		return err
	}
	if err := os.RemoveAll(failedLogs(dir)); err != nil {
		return fmt.Errorf("keep the logs: %w", err)
	}
	hasLogs := os.Rename(filepath.Join(dir, "log"), failedLogs(dir)) == nil
	locked.Close()
	if err := remove(ctx, dir); err != nil || !hasLogs {
		return err
	}
	return fmt.Errorf("nothing is left of it but its logs, in %s", failedLogs(dir))
}

// readPhase is how far the first process has come.
func readPhase(dir string) phase {
	var p phase
	data, err := os.ReadFile(filepath.Join(dir, "status.json"))
	if err != nil || json.Unmarshal(data, &p) != nil {
		return phase{Phase: phaseStarting, What: "the namespaces"}
	}
	return p
}

// startTime bounds a start.
const startTime = 3 * time.Minute

func (c *Cluster) awaitReady(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("not ready after %s", startTime))
	defer cancel()
	begun := time.Now()
	var last phase
	var lacks error
	added := false
	for {
		p := readPhase(c.config.Dir)
		if p != last && (p.Phase == phaseStarting || p.Phase == phaseServing) {
			say(c.config.Progress, "%5.1f s  starting %s", time.Since(begun).Seconds(), p.What)
		}
		last = p
		switch {
		case p.Phase == phaseFailed:
			return fmt.Errorf("start the cluster: %s", p.What)
		case p.Phase == phaseServing || p.Phase == phaseStarted:
			if !added {
				if lacks = c.addMetrics(ctx); lacks != nil {
					break
				}
				added = true
			}
			lacks = c.lacks(ctx)
			if lacks == nil && p.Phase == phaseStarted {
				say(c.config.Progress, "%5.1f s  each node is ready", time.Since(begun).Seconds())
				return nil
			}
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the cluster's first process ended: %w: %s", err, readPhase(c.config.Dir).What)
		case <-ctx.Done():
			return fmt.Errorf("start the cluster: %w: %w", context.Cause(ctx), errors.Join(lacks, errors.New("it was at "+p.Phase+" "+p.What)))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
