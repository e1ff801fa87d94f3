package product

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPodStartsQuickly measures, from the start of the process, when it serves and when the API server calls its pod ready;
// and what it holds then.
func TestPodStartsQuickly(t *testing.T) {
	rounds := 2
	if long() {
		rounds = 10
	}
	c := start(t)
	apply(t, c, demo)
	var serving, ready, memory []float64
	for range rounds {
		watching, err := c.Client().CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: selector, Watch: true})
		if err != nil {
			t.Fatal(err)
		}
		old := map[string]bool{}
		for _, pod := range listPods(t, c) {
			old[pod.Name] = true
			if err := c.Client().CoreV1().Pods(namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
				t.Fatal(err)
			}
		}
		var fresh []string
		for timeout := time.After(time.Minute); len(fresh) < 2; {
			var pod *corev1.Pod
			var heard time.Time
			select {
			case event := <-watching.ResultChan():
				heard = time.Now()
				pod, _ = event.Object.(*corev1.Pod)
			case <-timeout:
				t.Fatalf("%d of 2 pods were ready after a minute", len(fresh))
			}
			if pod == nil || old[pod.Name] || slices.Contains(fresh, pod.Name) {
				continue
			}
			if _, ok := readyAt(pod); !ok {
				continue
			}
			began := startOf(t, processOf(t, pod))
			ready = append(ready, heard.Sub(began).Seconds())
			serving = append(serving, servingAt(t, c, pod).Sub(began).Seconds())
			fresh = append(fresh, pod.Name)
		}
		watching.Stop()
		time.Sleep(3 * time.Second) // at rest
		for _, pod := range readyPods(t, c, 0) {
			memory = append(memory, resident(t, processOf(t, &pod)))
		}
	}
	t.Logf("from the start of the process until it served: %s", spread(serving, "s"))
	t.Logf("from the start of the process until the API server had heard that its pod is ready: %s", spread(ready, "s"))
	t.Logf("resident memory at rest: %s", spread(memory, "MB"))
	if most := slices.Max(serving); most > 5 {
		t.Errorf("it took a pod %.1f s from its start until it served", most)
	}
	if most := slices.Max(memory); most > 52 {
		t.Errorf("%.1f MB at rest, want 52 at most", most)
	}
}

func spread(values []float64, unit string) string {
	sorted := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("%d times, least %.2f, median %.2f, most %.2f %s", len(sorted), sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1], unit)
}

// startOf is when a process began, to 10 ms: proc_pid_stat(5), field 22, in ticks since the machine's start.
func startOf(t *testing.T, process int) time.Time {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks, err := strconv.ParseInt(fields[22-3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		t.Fatal(err)
	}
	return time.Now().Add(time.Duration(ticks)*10*time.Millisecond - time.Duration(since.Nano()))
}

// resident is what a process holds, in MB.
func resident(t *testing.T, process int) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib * 1024 / 1e6
		}
	}
	t.Fatalf("process %d says nothing of its memory", process)
	return 0
}

// servingAt is when the pod's log says that it serves.
func servingAt(t *testing.T, c *cluster.Cluster, pod *corev1.Pod) time.Time {
	t.Helper()
	text, err := c.Client().CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var l struct {
			Time    time.Time `json:"time"`
			Message string    `json:"msg"`
		}
		if json.Unmarshal(line, &l) == nil && l.Message == "serving" {
			return l.Time
		}
	}
	t.Fatalf("%s does not say that it serves", pod.Name)
	return time.Time{}
}
