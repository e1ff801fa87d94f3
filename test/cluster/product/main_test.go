package product

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
)

const (
	demo  = "../../../deploy/overlays/demo"
	image = "../../../bin/dougong-image.tar"
	token = "dg_demo-token-that-everybody-knows" // of the demo, as docs/kubernetes.md prints it
)

func TestMain(m *testing.M) {
	cluster.First()
	os.Exit(m.Run())
}

// start has a cluster with the image of `make image`.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Kubernetes")
	}
	if _, err := os.Stat(image); err != nil {
		t.Fatalf("%v; `make image` makes it", err)
	}
	return cluster.Start(t, image)
}

// kubectl runs it in the cluster's network.
func kubectl(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := c.Command(ctx, "kubectl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// apply applies a kustomization, waits for its Deployment, and takes all of it away at the end.
func apply(t *testing.T, c *cluster.Cluster, folder string) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, c, "delete", "-k", folder, "--wait", "--timeout=90s") })
	kubectl(t, c, "apply", "-k", folder)
	kubectl(t, c, "-n", "dougong", "rollout", "status", "deployment/dougong-inference", "--timeout=60s")
}

// inside is a client that reaches what the cluster's network does.
func inside(c *cluster.Cluster) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}, Timeout: 10 * time.Second}
}
