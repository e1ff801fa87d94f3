package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Attach finds the cluster that runs in the folder. It does not wait for its nodes.
func Attach(dir string) (*Cluster, error) {
	if err := checkDir(dir); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	id, err := findFirst(cgroupName(dir))
	if err != nil {
		return nil, err
	}
	if id == 0 {
		if p := readPhase(dir); p.Phase == phaseFailed {
			return nil, fmt.Errorf("%s: %w; one that was there ended because %s", dir, ErrNotRunning, p.What)
		}
		if left, err := Remains(dir); err == nil && len(left) > 0 {
			return nil, fmt.Errorf("%s: %w; one that was killed has left %s and more: `cluster down` removes it", dir, ErrNotRunning, left[0])
		}
		return nil, fmt.Errorf("%s: %w", dir, ErrNotRunning)
	}
	data, err := os.ReadFile(filepath.Join(dir, "first.json"))
	if err != nil {
		return nil, fmt.Errorf("read what the cluster is: %w", err)
	}
	var p plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("read what the cluster is: %w", err)
	}
	c := &Cluster{config: p.Config, cgroup: p.Cgroup, bin: p.Bin, first: id}
	return c, c.connect()
}

// findFirst is the process that is number 1 of the cluster's namespace, or 0. A pod's first is number 1 in a namespace
// below.
func findFirst(cgroup string) (int, error) {
	ids, err := processesIn(cgroup)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
		if err == nil && isFirst(status) {
			return id, nil
		}
	}
	return 0, nil
}

// isFirst reads proc_pid_status(5): NSpid lists the process's numbers, in the reader's namespace first. The cluster's is
// one below.
func isFirst(status []byte) bool {
	for line := range bytes.Lines(status) {
		if numbers, found := strings.CutPrefix(string(line), "NSpid:"); found {
			list := strings.Fields(numbers)
			return len(list) == 2 && list[1] == "1"
		}
	}
	return false
}

// Status says, for people, what there is of the folder's cluster. The error is ErrNotRunning if none runs.
func Status(ctx context.Context, dir string) (string, error) {
	c, err := Attach(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	p := readPhase(dir)
	if p.Phase != phaseStarted {
		fmt.Fprintf(&b, "%s: %s\n", p.Phase, p.What)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return b.String(), fmt.Errorf("the API does not answer: %w", err)
	}
	for _, node := range nodes.Items {
		state := "not ready"
		if isReady(node) {
			state = "ready"
		}
		fmt.Fprintf(&b, "%s  %s  %s\n", node.Name, node.Status.NodeInfo.KubeletVersion, state)
	}
	pods, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return b.String(), errors.New("the API does not list pods: " + err.Error())
	}
	fmt.Fprintf(&b, "%d pods\n%s", len(pods.Items), c.Hint())
	return b.String(), nil
}

// Hint says how to use the cluster from a shell.
func (c *Cluster) Hint() string {
	return fmt.Sprintf(`export KUBECONFIG=%s KUBECACHEDIR=%s/kubectl
kubectl is %s/kubectl
where pods and services have addresses:  cd test/cluster && go run ./cmd/cluster enter -- COMMAND
where the nodes' mounts are, too:  nsenter --target %d --mount --net --pid COMMAND
logs of its programs: %s
`, c.Kubeconfig(), c.config.Dir, c.bin, c.first, c.Logs())
}
