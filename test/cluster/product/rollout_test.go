package product

import (
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What people do to a Deployment while it is called over its Service's address by a client that sends nothing twice. The
// grace and the drain are those of the manifests.

// TestRollingRestartFailsNothing replaces each pod.
func TestRollingRestartFailsNothing(t *testing.T) {
	c := start(t)
	apply(t, c, demo)
	before := listPods(t, c)
	load := startLoad(t, c, "--rate", "150", "--connections", "32", "--body", prediction, "--check", "status == 200")
	await := watchEnds(t, c)
	kubectl(t, c, "-n", namespace, "rollout", "restart", "deployment/"+name)
	kubectl(t, c, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=60s")
	endedWell(t, await, before)
	load.stop(t).nothingFailed(t)
}

// TestDrainFailsNothing empties a node, which then takes pods again.
func TestDrainFailsNothing(t *testing.T) {
	c := start(t)
	apply(t, c, demo)
	byNode := map[string][]corev1.Pod{}
	for _, pod := range listPods(t, c) {
		byNode[pod.Spec.NodeName] = append(byNode[pod.Spec.NodeName], pod)
	}
	if len(byNode) != 2 {
		t.Fatalf("the pods are on %d nodes, want each on its own", len(byNode))
	}
	load := startLoad(t, c, "--rate", "150", "--connections", "32", "--body", prediction, "--check", "status == 200")
	await := watchEnds(t, c)
	for node, pods := range byNode { // one after the other: in the end no pod is where, or what, it was
		t.Cleanup(func() { kubectl(t, c, "uncordon", node) })
		kubectl(t, c, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s")
		endedWell(t, await, pods)
		kubectl(t, c, "uncordon", node)
		kubectl(t, c, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=60s")
	}
	load.stop(t).nothingFailed(t)
	for pod, e := range await() { // those of the first drain, too, that the second one moved again
		if e.code != 0 {
			t.Errorf("%s ended with %d (%s)", pod, e.code, e.reason)
		}
	}
}

// TestAutoscalerAddsPodsAndNothingFails: the production overlay, whose P99 has no adapter here: CPU adds pods.
func TestAutoscalerAddsPodsAndNothingFails(t *testing.T) {
	c := start(t)
	apply(t, c, "testdata/autoscaled")
	eventually(t, 90*time.Second, "the autoscaler has its two pods, and their CPU", func() bool {
		pods := readyPods(t, c, 0)
		return len(pods) == 2 && measured(t, c)
	})
	load := startLoad(t, c, "--rate", "400", "--connections", "32", "--body", prediction, "--check", "status == 200")
	began := time.Now()
	eventually(t, 3*time.Minute, "the autoscaler has made it four pods", func() bool { return len(readyPods(t, c, 0)) >= 4 })
	t.Logf("two pods became %d in %v", len(readyPods(t, c, 0)), time.Since(began).Round(time.Second))
	time.Sleep(5 * time.Second) // with the new ones in the Service
	load.stop(t).nothingFailed(t)
}

// measured says whether the autoscaler knows the CPU of its pods.
func measured(t *testing.T, c *cluster.Cluster) bool {
	t.Helper()
	scaler, err := c.Client().AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range scaler.Status.CurrentMetrics {
		if metric.Resource != nil && metric.Resource.Current.AverageUtilization != nil {
			return true
		}
	}
	return false
}

// endedWell waits until the pods have ended by themselves.
func endedWell(t *testing.T, await func(...string) map[string]end, pods []corev1.Pod) {
	t.Helper()
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	ends := await(names...)
	for _, pod := range names {
		if e := ends[pod]; e.code != 0 {
			t.Errorf("%s ended with %d (%s)", pod, e.code, e.reason)
		}
	}
}
