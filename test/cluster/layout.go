package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// The addresses within the cluster's network namespace, where nobody else's can clash with them.
const (
	apiAddress  = "10.99.0.1"
	serviceCIDR = "10.96.0.0/16"
	serviceAPI  = "10.96.0.1" // the first of serviceCIDR, which Kubernetes gives to itself
	podCIDRs    = "10.98.0.0/16"
)

func nodeNames(nodes int) []string {
	var names []string
	for n := range nodes {
		names = append(names, "node-"+strconv.Itoa(n+1))
	}
	return names
}

func nodeAddress(n int) string { return fmt.Sprintf("10.99.0.%d", 11+n) }
func podCIDR(n int) string     { return fmt.Sprintf("10.98.%d.0/24", n+1) }

// plan is what the first process is told, in the file first.json of the cluster's folder.
type plan struct {
	Config
	Bin    string `json:"bin"`    // folder of what was built
	Cgroup string `json:"cgroup"` // the name in each hierarchy
}

// layout fills the cluster's empty folder: keys, certificates, and each program's configuration.
func (p plan) layout() error {
	for _, dir := range []string{"pki", "config", "log", "etcd"} {
		if err := os.MkdirAll(filepath.Join(p.Dir, dir), 0o755); err != nil {
			return fmt.Errorf("make the cluster's folders: %w", err)
		}
	}
	pki := filepath.Join(p.Dir, "pki")
	ca, err := newAuthority(pki, "ca")
	if err != nil {
		return err
	}
	front, err := newAuthority(pki, "front-proxy-ca")
	if err != nil {
		return err
	}
	if _, _, err := front.issue("front-proxy", identity{name: "front-proxy"}); err != nil {
		return err
	}
	server := identity{
		name:  "kube-apiserver",
		hosts: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		ips:   []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(apiAddress), net.ParseIP(serviceAPI)},
	}
	if _, _, err := ca.issue("apiserver", server); err != nil {
		return err
	}
	_, key, err := newKey()
	if err != nil {
		return err
	}
	if err := write(filepath.Join(pki, "service-accounts.key"), key); err != nil {
		return err
	}

	// Programs of Kubernetes' own may do all: their exact rights are not what tests here are about. A node has a node's.
	masters := []string{"system:masters"}
	clients := map[string]identity{
		"admin":                   {name: "admin", groups: masters},
		"apiserver-kubelet":       {name: "apiserver-kubelet", groups: masters},
		"kube-controller-manager": {name: "system:kube-controller-manager", groups: masters},
		"kube-scheduler":          {name: "system:kube-scheduler"},
		"kube-proxy":              {name: "system:kube-proxy"},
		"metrics-server":          {name: "metrics-server", groups: masters},
	}
	for _, node := range nodeNames(p.Nodes) {
		clients[node] = identity{name: "system:node:" + node, groups: []string{"system:nodes"}}
	}
	for file, id := range clients {
		cert, key, err := ca.issue(file, id)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(filepath.Join(p.Dir, "config", file+".kubeconfig"), p.Port, ca.pem, cert, key); err != nil {
			return err
		}
		if file == "admin" {
			if err := writeKubeconfig(filepath.Join(p.Dir, "kubeconfig"), p.Port, ca.pem, cert, key); err != nil {
				return err
			}
		}
	}
	for n, node := range nodeNames(p.Nodes) {
		if err := p.layoutNode(n, node); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(p.Dir, "first.json"), p)
}
