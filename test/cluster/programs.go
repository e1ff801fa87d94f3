package cluster

import (
	"fmt"
	"strconv"
)

// program is one of the cluster's own.
type program struct {
	name string // of its log, too
	args []string
	env  []string
}

func pki(file string) string           { return inside + "/pki/" + file }
func clientOf(name string) string      { return inside + "/config/" + name + ".kubeconfig" }
func (p plan) program(b string) string { return p.Bin + "/" + b }

// store and apiServer are the first; the others do nothing until it is ready.
func (p plan) store() program {
	return program{name: "etcd", args: []string{
		p.program("etcd"),
		"--data-dir=" + inside + "/etcd",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // what it holds ends with the cluster
		"--log-level=warn",
	}}
}

func (p plan) apiServer() program {
	return program{name: "kube-apiserver", args: []string{
		p.program("kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--secure-port=" + strconv.Itoa(p.Port), "--advertise-address=" + apiAddress,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--client-ca-file=" + pki("ca.crt"),
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki("service-accounts.key"),
		"--service-account-signing-key-file=" + pki("service-accounts.key"),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + pki("apiserver-kubelet.key"),
		"--requestheader-client-ca-file=" + pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki("front-proxy.crt"), "--proxy-client-key-file=" + pki("front-proxy.key"),
		"--enable-aggregator-routing",
		"--profiling=false",
	}}
}

// others follow the API server. One process of each is enough: nobody is elected.
func (p plan) others() []program {
	list := []program{
		{name: "kube-controller-manager", args: []string{
			p.program("kube-controller-manager"),
			"--kubeconfig=" + clientOf("kube-controller-manager"),
			"--authentication-kubeconfig=" + clientOf("kube-controller-manager"), "--authorization-kubeconfig=" + clientOf("kube-controller-manager"),
			"--leader-elect=false", "--bind-address=127.0.0.1",
			// With an account for each controller, the first pod would wait for dozens of tokens.
			"--use-service-account-credentials=false",
			"--service-account-private-key-file=" + pki("service-accounts.key"), "--root-ca-file=" + pki("ca.crt"),
			"--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
			"--horizontal-pod-autoscaler-initial-readiness-delay=2s",
			"--profiling=false",
		}},
		{name: "kube-scheduler", args: []string{
			p.program("kube-scheduler"),
			"--kubeconfig=" + clientOf("kube-scheduler"),
			"--authentication-kubeconfig=" + clientOf("kube-scheduler"), "--authorization-kubeconfig=" + clientOf("kube-scheduler"),
			"--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
		}},
	}
	for n, node := range nodeNames(p.Nodes) {
		list = append(list, program{name: node + ".kubelet", args: []string{
			p.program("kubelet"),
			"--config=" + inside + "/config/" + node + ".kubelet.json",
			"--kubeconfig=" + clientOf(node),
			"--root-dir=" + inside + "/" + node + "/kubelet", "--cert-dir=" + inside + "/" + node + "/kubelet/pki",
			"--hostname-override=" + node, "--node-ip=" + nodeAddress(n),
			"--node-labels=topology.kubernetes.io/zone=zone-" + strconv.Itoa(n+1),
		}})
	}
	return append(list,
		// One serves all nodes, because they share the network namespace.
		program{name: "kube-proxy", args: []string{
			p.program("kube-proxy"),
			"--kubeconfig=" + clientOf("kube-proxy"), "--hostname-override=node-1",
			"--proxy-mode=nftables", "--cluster-cidr=" + podCIDRs,
			"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
			"--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249",
			"--oom-score-adj=0", "--nodeport-addresses=" + apiAddress + "/32",
		}},
		program{name: "metrics-server", args: []string{
			p.program("metrics-server"),
			"--kubeconfig=" + clientOf("metrics-server"),
			"--authentication-kubeconfig=" + clientOf("metrics-server"), "--authorization-kubeconfig=" + clientOf("metrics-server"),
			"--bind-address=" + apiAddress, fmt.Sprintf("--secure-port=%d", metricsPort), "--cert-dir=" + inside + "/pki/metrics-server",
			"--kubelet-insecure-tls", // kubelets sign their own
			"--kubelet-client-certificate=" + pki("metrics-server.crt"), "--kubelet-client-key=" + pki("metrics-server.key"),
			"--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
			"--metric-resolution=10s", "--kubelet-request-timeout=5s",
		}},
	)
}

// runtime is a node's containerd.
func (p plan) runtime(node string) program {
	return program{name: node + ".containerd", args: []string{"containerd", "--config", inside + "/config/" + node + ".containerd.toml", "--log-level", "warn"}}
}
