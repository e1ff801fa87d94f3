package product

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestThrottledPodLives: a pod with a fifth of a processor has twice the load that it can bear. It refuses what it cannot
// do, its probes and scrapes are answered, and what it holds is bounded; and then it is as it was.
func TestThrottledPodLives(t *testing.T) {
	length := 15 * time.Second
	if long() {
		length = time.Minute
	}
	c := start(t)
	apply(t, c, "testdata/fifth")
	pod := onePod(t, c)
	client := inside(t, c)
	before, err := readMetrics(client, pod.Status.PodIP)
	if err != nil {
		t.Fatal(err)
	}

	// Requests of 250 rows, whose callers say how long they wait: of single rows the generator, which has to fit on this machine
	// too, could not send enough.
	const connections, patience = 512, "300ms"
	body := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(body, []byte(`{"model":"loan-mini","inputs":[`+strings.Repeat(`[0.1,0.9],`, 249)+`[0.2,0.8]]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	calm := startLoad(t, c, "--users", "2", "--connections", "2", "--body-file", body, "--check", "status == 200")
	time.Sleep(6 * time.Second)
	capacity := calm.stop(t)
	rate := float64(capacity.OK) / capacity.Seconds
	t.Logf("two callers: %.0f requests a second", rate)

	flood := startLoad(t, c, "--rate", fmt.Sprintf("%.0f", 2*rate), "--connections", fmt.Sprint(connections), "--body-file", body, "-H", "X-Request-Timeout: "+patience, "--check", "status == 200")
	var goroutines, threads, scrapes []float64
	throttled := throttledPeriods(t, c, &pod)
	for began := time.Now(); time.Since(began) < length; time.Sleep(500 * time.Millisecond) {
		asked := time.Now()
		series, err := readMetrics(client, pod.Status.PodIP)
		if err != nil {
			t.Fatalf("a scrape failed: %v", err)
		}
		scrapes = append(scrapes, time.Since(asked).Seconds())
		goroutines, threads = append(goroutines, series["go_goroutines"]), append(threads, series["go_threads"])
	}
	outcome := flood.stop(t)
	t.Logf("under twice its load, %v: goroutines %s", length, spread(goroutines, ""))
	t.Logf("threads %s", spread(threads, ""))
	t.Logf("scrapes %s", spread(scrapes, "s"))

	if most, bound := slices.Max(goroutines), before["go_goroutines"]+4*(connections+10); most > bound {
		t.Errorf("%.0f goroutines, with %d callers and %.0f at rest", most, connections, before["go_goroutines"])
	}
	if most := slices.Max(threads); most > 16 {
		t.Errorf("%.0f threads", most)
	}
	if outcome.OK == 0 || outcome.Status["503"] == 0 {
		t.Errorf("of twice its load, %d requests were answered and %d refused", outcome.OK, outcome.Status["503"])
	}
	for status := range outcome.Status {
		if status != "200" && status != "503" && status != "504" {
			t.Errorf("%d answers with status %s", outcome.Status[status], status)
		}
	}
	for class := range outcome.Failed {
		if class != "status" && class != "timeout" {
			t.Errorf("%d requests failed as %s", outcome.Failed[class], class)
		}
	}
	eventually(t, 40*time.Second, "the kubelet says that it was throttled meanwhile", func() bool {
		return throttledPeriods(t, c, &pod)-throttled >= length.Seconds()
	})
	livesOn(t, c, &pod)
	if after, err := readMetrics(client, pod.Status.PodIP); err != nil {
		t.Error(err)
	} else {
		for _, reason := range []string{"slow_read", "slow_write"} { // a process that is slow itself must not blame its callers
			if n := after[`dougong_limit_conns_closed_total{listener="http",reason="`+reason+`"}`]; n > 0 {
				t.Errorf("%.0f connections were closed as %s", n, reason)
			}
		}
	}
	eventually(t, 10*time.Second, "an answer in less than half a second", func() bool {
		asked := time.Now()
		code, _ := predict(t, client, pod.Status.PodIP, prediction)
		return code == http.StatusOK && time.Since(asked) < time.Second/2
	})
}

// throttledPeriods is what the kubelet says of the pod: the metric that the run book names.
func throttledPeriods(t *testing.T, c *cluster.Cluster, pod *corev1.Pod) float64 {
	t.Helper()
	var periods float64
	eventually(t, 40*time.Second, "the kubelet's metrics have the pod", func() bool {
		text := kubectl(t, c, "get", "--raw", "/api/v1/nodes/"+pod.Spec.NodeName+"/proxy/metrics/cadvisor")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "container_cpu_cfs_throttled_periods_total{") && strings.Contains(line, `pod="`+pod.Name+`"`) {
				fmt.Sscan(line[strings.LastIndex(line, "} ")+2:], &periods)
				return periods > 0
			}
		}
		return false
	})
	return periods
}

// livesOn fails the test if the pod's container was restarted or a probe of its liveness failed.
func livesOn(t *testing.T, c *cluster.Cluster, pod *corev1.Pod) {
	t.Helper()
	now, err := c.Client().CoreV1().Pods(namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := now.Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("it was restarted %d times", n)
	}
	events, err := c.Client().CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		if e.Reason == "Unhealthy" && strings.HasPrefix(e.Message, "Liveness") {
			t.Errorf("%s", e.Message)
		}
		if e.Reason == "Unhealthy" {
			t.Logf("%d times: %s", max(e.Count, 1), e.Message)
		}
	}
}
