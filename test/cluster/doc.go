// Package cluster runs a real Kubernetes on one machine, for tests: etcd, the API server, the controllers, the scheduler,
// kube-proxy and metrics-server, and two nodes with a kubelet and a containerd each. All of it lives in namespaces of
// its own, under the first process that [Up] starts there: if that ends, everything has ended. What else there is (a
// folder, a cgroup) is named for the folder, so that [Down] finds it after any crash.
//
// Kubernetes is built from its own module, as go.mod pins it, once for a version and kept in the user's cache; containerd,
// runc, the CNI plugins and nft are Debian's (install.sh). It needs root and Linux. Nothing of the machine is changed:
// cgroups of its own are made, and removed again; sysctls that kubelets want to set are shown to them as set.
//
// Do not use it to learn how Kubernetes behaves across machines: both nodes share one network namespace and one kernel,
// each believes that it has the whole machine, there is no cluster DNS, NetworkPolicy is accepted and not enforced, and
// images come from tar files, never from a registry.
//
// A test's TestMain begins with [First], because the cluster's first process is the test binary run again. Then:
//
//	c := cluster.Start(t, "../../bin/dougong-image.tar") // or the one that DOUGONG_CLUSTER names
//	pods, err := c.Client().CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
//	out, err := c.Command(ctx, "kubectl", "apply", "-k", "deploy/overlays/demo").CombinedOutput()
//	conn, err := c.DialContext(ctx, "tcp", "10.96.0.10:80") // reaches services and pods
package cluster
