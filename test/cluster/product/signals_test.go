package product

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestReadinessFallsWithTheSignal measures from the signal itself, which here comes from the test and not by way of the
// API server, the kubelet and the runtime.
func TestReadinessFallsWithTheSignal(t *testing.T) {
	signals := 5
	if long() {
		signals = 25
	}
	c := start(t)
	writeFaults(t, c, slowPredictions)
	apply(t, c, "testdata/short-grace")
	await := watchEnds(t, c)
	load := startLoad(t, c, "--rate", "40", "--connections", "200", "--body", prediction, "--check", "status == 200")
	rnd := rand.New(rand.NewPCG(1, 2))
	var took []time.Duration
	for len(took) < signals {
		pod := pickPod(t, c, rnd, 4)
		client := inside(t, c)
		if _, err := readMetrics(client, pod.Status.PodIP); err != nil { // connects
			t.Fatal(err)
		}
		process := processOf(t, &pod)
		troubles := followTroubles(t, c, pod.Name)
		at := time.Now()
		if err := syscall.Kill(process, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		d, ok := untilNotReady(t, client, &pod, at, time.Millisecond)
		if !ok {
			t.Fatalf("%s stayed ready", pod.Name)
		}
		client.CloseIdleConnections()
		took = append(took, d)
		if e := await(pod.Name)[pod.Name]; e.code != 0 {
			t.Errorf("%s ended with %d", pod.Name, e.code)
		}
		for _, line := range troubles() {
			t.Errorf("%s: %s", pod.Name, line)
		}
		// Or its next start would wait: to the kubelet it is a container that ended too soon.
		if err := c.Client().CoreV1().Pods(namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	load.stop(t)
	slices.Sort(took)
	t.Logf("from SIGTERM to an answer that says not ready, %d times: median %s, most %s", len(took), millis(took[len(took)/2]), millis(took[len(took)-1]))
	if took[len(took)-1] > time.Second {
		t.Error("readiness took more than a second to fall")
	}
}

// TestSecondSignalEndsAtOnce: who does not want to wait for the drain sends another.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	c := start(t)
	apply(t, c, demo) // its drain takes five seconds
	await := watchEnds(t, c)
	pod := onePod(t, c)
	process := processOf(t, &pod)
	if err := syscall.Kill(process, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	client := inside(t, c)
	eventually(t, 2*time.Second, "the drain has begun", func() bool {
		answer, err := client.Get("http://" + pod.Status.PodIP + ":9090/readyz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusServiceUnavailable
	})
	time.Sleep(150 * time.Millisecond) // two signals within 100 ms are one that came twice
	at := time.Now()
	if err := syscall.Kill(process, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(process, 0) == nil && time.Since(at) < 4*time.Second {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(at)
	e := await(pod.Name)[pod.Name]
	t.Logf("ended %s after the second signal, with %d", millis(took), e.code)
	if e.code != 130 || took > 2*time.Second {
		t.Errorf("exit code %d after %v", e.code, took)
	}
	eventually(t, 30*time.Second, "the kubelet has started it again", func() bool {
		for _, p := range readyPods(t, c, 0) {
			if p.Name == pod.Name && p.Status.ContainerStatuses[0].RestartCount == 1 {
				return true
			}
		}
		return false
	})
}

// TestGraceThatIsTooShortEndsInSIGKILL: what the run book says of it is what is seen: exit code 137, requests lost, and
// those alone that were in flight on that pod.
func TestGraceThatIsTooShortEndsInSIGKILL(t *testing.T) {
	c := start(t)
	writeFaults(t, c, slowPredictions)
	apply(t, c, "testdata/short-grace")
	await := watchEnds(t, c)
	load := startLoad(t, c, "--rate", "40", "--connections", "200", "--body", prediction, "--check", "status == 200")
	client := inside(t, c)
	var pod corev1.Pod
	had := 0
	eventually(t, 30*time.Second, "a pod has ten requests", func() bool {
		for _, pod = range readyPods(t, c, time.Second) {
			if had = inFlight(t, client, pod.Status.PodIP); had >= 10 {
				return true
			}
		}
		return false
	})
	grace := int64(1) // its drain delay alone takes one second
	if err := c.Client().CoreV1().Pods(namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
		t.Fatal(err)
	}
	e := await(pod.Name)[pod.Name]
	if e.code != 137 || e.reason == "OOMKilled" {
		t.Errorf("exit code %d (%s), want that of SIGKILL, 137", e.code, e.reason)
	}
	eventually(t, time.Minute, "there are five pods again", func() bool { return len(readyPods(t, c, time.Second)) == 5 })
	lost := load.stop(t)
	for class := range lost.Failed {
		if class != "closed" && class != "reset" {
			t.Errorf("%d requests failed as %s", lost.Failed[class], class)
		}
	}
	if n := lost.Failed["closed"] + lost.Failed["reset"]; n == 0 || n > uint64(had)+24 { // 8 more a second came to it, for the two that a kubelet grants at least
		t.Errorf("%d requests were lost with a pod that had %d", n, had)
	}
}

// TestWorkEndsWithItsContext: callers hang up while their predictions are under way, in the slot that each has of its pod,
// where a fault keeps them for three seconds, or until their context ends.
// The process's log says when each ended; it is the same clock.
func TestWorkEndsWithItsContext(t *testing.T) {
	c := start(t)
	writeFaults(t, c, `"point":"inference.score","delay":{"fixed":"3s"}`)
	apply(t, c, "testdata/short-grace")
	pod := onePod(t, c)
	const callers = 200
	hungUp := map[string]time.Time{}
	rnd := rand.New(rand.NewPCG(3, 4))
	for n := range callers {
		conn, err := c.DialContext(t.Context(), "tcp", pod.Status.PodIP+":8080")
		if err != nil {
			t.Fatal(err)
		}
		trace := fmt.Sprintf("%032x", n+1)
		fmt.Fprintf(conn, "POST /v1/predict HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\ntraceparent: 00-%s-00000000000000ff-01\r\nContent-Length: %d\r\n\r\n%s", token, trace, len(prediction), prediction)
		time.Sleep(time.Duration(5+rnd.IntN(40)) * time.Millisecond)
		hungUp[trace] = time.Now()
		conn.Close()
	}
	ended := map[string]accessLine{}
	eventually(t, 15*time.Second, "each request is in the log", func() bool {
		text, err := c.Client().CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			if l, ok := readAccessLine(line); ok && !hungUp[l.TraceID].IsZero() {
				ended[l.TraceID] = l
			}
		}
		return len(ended) == callers
	})
	// Edges in milliseconds.
	edges := []float64{1, 2, 5, 10, 20, 50, 100, 200}
	counts := make([]int, len(edges)+1)
	most := 0.0
	for trace, at := range hungUp {
		reaction := ended[trace].Time.Sub(at).Seconds() * 1e3
		if reaction < 0 {
			t.Errorf("a request ended before its caller hung up, with status %d", ended[trace].Status)
		}
		if ended[trace].Status == http.StatusOK {
			t.Error("a request was answered whose caller had hung up")
		}
		most = max(most, reaction)
		i, _ := slices.BinarySearch(edges, reaction)
		counts[i]++
	}
	var histogram strings.Builder
	for i, count := range counts {
		edge := "more"
		if i < len(edges) {
			edge = fmt.Sprintf("≤ %g ms", edges[i])
		}
		fmt.Fprintf(&histogram, "%10s %4d %s\n", edge, count, strings.Repeat("#", (count+1)/2))
	}
	t.Logf("from hanging up to the end of the work, %d times, most %.1f ms:\n%s", callers, most, &histogram)
	if most > 1000 { // the work itself takes three seconds
		t.Errorf("work went on for %.0f ms", most)
	}
}
