package product

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the manifests call the service.
const (
	namespace = "dougong"
	name      = "dougong-inference"
	selector  = "app.kubernetes.io/name=dougong,app.kubernetes.io/component=inference"
)

// listPods are those of the Deployment.
func listPods(t *testing.T, c *cluster.Cluster) []corev1.Pod {
	t.Helper()
	list, err := c.Client().CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// readyPods are those that serve, since `since` at least, and are not asked to end.
func readyPods(t *testing.T, c *cluster.Cluster, since time.Duration) []corev1.Pod {
	t.Helper()
	var ready []corev1.Pod
	for _, pod := range listPods(t, c) {
		if at, ok := readyAt(&pod); ok && pod.DeletionTimestamp == nil && time.Since(at) >= since {
			ready = append(ready, pod)
		}
	}
	return ready
}

// onePod is one of those that serve.
func onePod(t *testing.T, c *cluster.Cluster) corev1.Pod {
	t.Helper()
	return pickPod(t, c, rand.New(rand.NewPCG(0, 0)), 1)
}

func readyAt(pod *corev1.Pod) (time.Time, bool) {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.LastTransitionTime.Time, condition.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// pickPod waits until at least enough pods have been ready for a second, and picks one of them.
func pickPod(t *testing.T, c *cluster.Cluster, rnd *rand.Rand, enough int) corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, time.Minute, fmt.Sprintf("%d pods are ready", enough), func() bool {
		pods = readyPods(t, c, time.Second)
		return len(pods) >= enough
	})
	return pods[rnd.IntN(len(pods))]
}

// eventually waits for what must come.
func eventually(t *testing.T, limit time.Duration, what string, came func() bool) {
	t.Helper()
	for began := time.Now(); !came(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// processOf is the process of a pod, as this machine numbers it.
func processOf(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		groups, _ := os.ReadFile(file) // it may have ended
		comm, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		if bytes.Contains(groups, []byte(pod.UID)) && string(comm) == "dougong\n" {
			id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	t.Fatalf("no process of %s", pod.Name)
	return 0
}

// readMetrics are those of a pod, by series as they are written.
func readMetrics(client *http.Client, ip string) (map[string]float64, error) {
	answer, err := client.Get("http://" + ip + ":9090/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	series := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if line[0] == '#' || i < 0 {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		series[line[:i]] = value
	}
	return series, nil
}

// inFlight is how many predictions a pod has not answered.
func inFlight(t *testing.T, client *http.Client, ip string) int {
	series, err := readMetrics(client, ip)
	if err != nil {
		t.Error(err)
	}
	return int(series[`dougong_http_inflight_requests{route="POST /v1/predict"}`])
}

// end is how a container ended.
type end struct {
	code   int32
	reason string
	at     time.Time // when it was heard
}

// watchEnds notes how the first container of each pod ends. The function that it returns waits for those of the pods.
func watchEnds(t *testing.T, c *cluster.Cluster) (await func(names ...string) map[string]end) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	watching, err := c.Client().CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ends := map[string]end{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watching.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			for _, s := range pod.Status.ContainerStatuses {
				terminated := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
				mu.Lock()
				if _, known := ends[pod.Name]; terminated != nil && !known {
					ends[pod.Name] = end{code: terminated.ExitCode, reason: terminated.Reason, at: time.Now()}
				}
				mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { stop(); watching.Stop(); <-done })
	return func(names ...string) map[string]end {
		t.Helper()
		for _, pod := range names {
			eventually(t, time.Minute, "the end of "+pod, func() bool {
				mu.Lock()
				defer mu.Unlock()
				_, known := ends[pod]
				return known
			})
		}
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(ends)
	}
}

// followTroubles reads the log of a pod from now on, until its container ends, which the function that it returns waits for. It
// returns the lines of requests that were not answered with 200.
func followTroubles(t *testing.T, c *cluster.Cluster, pod string) (await func() []string) {
	second := int64(1)
	logs, err := c.Client().CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true, SinceSeconds: &second}).Stream(t.Context())
	if err != nil {
		t.Errorf("%s: %v", pod, err)
		return func() []string { return nil }
	}
	var troubles []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer logs.Close()
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			if l, ok := readAccessLine(lines.Bytes()); ok && l.Status != http.StatusOK {
				troubles = append(troubles, lines.Text())
			}
		}
	}()
	return func() []string { <-done; return troubles }
}

// accessLine is what the log says of a request.
type accessLine struct {
	Time    time.Time `json:"time"` // of its end
	Message string    `json:"msg"`
	TraceID string    `json:"trace_id"`
	Status  int       `json:"status"`
}

func readAccessLine(line []byte) (l accessLine, ok bool) {
	err := json.Unmarshal(line, &l)
	return l, err == nil && l.Message == "request"
}
