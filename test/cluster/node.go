package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

func containerdSocket(node string) string { return "/run/" + node + "/containerd.sock" }

// layoutNode writes what a node's containerd, network and kubelet read. The paths in it are those within the namespace.
func (p plan) layoutNode(n int, node string) error {
	for _, dir := range []string{"containerd", "kubelet/plugins-exec", "pods-log", "addresses", "cni"} {
		if err := os.MkdirAll(filepath.Join(p.Dir, node, dir), 0o755); err != nil {
			return fmt.Errorf("make a node's folders: %w", err)
		}
	}
	own := filepath.Join(inside, node)
	if err := write(filepath.Join(p.Dir, "config", node+".containerd.toml"), []byte(containerdConfig(node, own))); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(p.Dir, node, "cni", "10-pods.conflist"), podNetwork(n, own)); err != nil {
		return err
	}
	return writeJSON(filepath.Join(p.Dir, "config", node+".kubelet.json"), p.kubeletConfig(n, node, own))
}

// containerdConfig leaves out what would look beyond the node: image pulls, other snapshotters. A process may not lower
// its oom_score_adj on some machines, hence restrict_oom_score_adj.
func containerdConfig(node, own string) string {
	return fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = "/run/%[2]s/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "%[3]s"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[4]s"
  restrict_oom_score_adj = true
  enable_selinux = false
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`, own, node, containerdSocket(node), pauseImage)
}

// podNetwork gives each pod a link of its own to the node, over which all of its traffic goes. Over a bridge, an answer
// from a pod to its neighbour would not pass the rules that turn a service's address into a pod's, and back.
func podNetwork(n int, own string) any {
	return map[string]any{
		"cniVersion": "0.4.0",
		"name":       "pods",
		"plugins": []any{
			map[string]any{
				"type": "ptp",
				"mtu":  1500,
				"ipam": map[string]any{
					"type":    "host-local",
					"dataDir": own + "/addresses",
					"ranges":  []any{[]any{map[string]any{"subnet": podCIDR(n)}}},
					"routes":  []any{map[string]any{"dst": "0.0.0.0/0"}},
				},
			},
		},
	}
}

func (p plan) kubeletConfig(n int, node, own string) any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"address":    nodeAddress(n),
		"port":       10250,
		// One of a machine would be in the way of the other's.
		"healthzPort":              10248 - 10*n,
		"healthzBindAddress":       "127.0.0.1",
		"containerRuntimeEndpoint": "unix://" + containerdSocket(node),
		"podLogsDir":               own + "/pods-log",
		"volumePluginDir":          own + "/kubelet/plugins-exec",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": inside + "/pki/ca.crt"},
		},
		"authorization": map[string]any{"mode": "Webhook"},
		// Each node below a cgroup of its own: a kubelet removes what it finds in its own and does not know.
		"cgroupRoot":    "/" + p.Cgroup + "/" + node,
		"cgroupDriver":  "cgroupfs",
		"cgroupsPerQOS": true,
		"failCgroupV1":  false,
		"oomScoreAdj":   0,
		"resolvConf":    "", // the machine's would lead nowhere
		// What a full disk of the machine has to do with is nothing that a test wants to find out here.
		"evictionHard":                  map[string]string{"memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
		"imageGCHighThresholdPercent":   100,
		"imageGCLowThresholdPercent":    99,
		"failSwapOn":                    false,
		"makeIPTablesUtilChains":        false,
		"localStorageCapacityIsolation": false,
		"nodeStatusUpdateFrequency":     "5s",
		"serializeImagePulls":           false,
		"registryPullQPS":               0,
		"eventRecordQPS":                0,
		"maxPods":                       200,
		"syncFrequency":                 "10s",
	}
}
