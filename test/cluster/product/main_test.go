package product

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
)

const (
	demo  = "../../../deploy/overlays/demo"
	image = "../../../bin/dougong-image.tar"
	token = "dg_demo-token-that-everybody-knows" // of the demo, as docs/kubernetes.md prints it
)

var (
	folder string // of this run of the tests
	binary = sync.OnceValues(build)
)

func TestMain(m *testing.M) {
	cluster.First()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "dougong-product-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	return m.Run()
}

// long says whether the tests are to take their time: the numbers of docs/kubernetes.md come from such a run.
func long() bool { return os.Getenv("DOUGONG_LONG") != "" }

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

// build makes the command that offers load.
func build() (string, error) {
	file := filepath.Join(folder, "dougong")
	build := exec.Command("go", "build", "-o", file, "./cmd/dougong")
	build.Dir = "../../.."
	build.Stderr = os.Stderr
	return file, build.Run()
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

// clean takes all of it away at the end, from a cluster that outlives the test.
func clean(t *testing.T, c *cluster.Cluster) {
	if os.Getenv("DOUGONG_CLUSTER") != "" {
		t.Cleanup(func() {
			kubectl(t, c, "delete", "namespace", namespace, "--ignore-not-found", "--wait", "--timeout=90s")
		})
	}
}

// apply applies a kustomization and waits for its Deployment.
func apply(t *testing.T, c *cluster.Cluster, folder string) {
	t.Helper()
	clean(t, c)
	kubectl(t, c, "apply", "-k", folder)
	kubectl(t, c, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=60s")
}

// inside is a client that reaches what the cluster's network does, on one connection for each address: a connection costs
// a thread.
func inside(t *testing.T, c *cluster.Cluster) *http.Client {
	transport := &http.Transport{DialContext: c.DialContext, MaxIdleConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}
