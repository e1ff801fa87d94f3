package product

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDeletedPodsAnswerWhatTheyAccepted: under load, with requests of 50 to 3,000 ms, pods are deleted at random with five
// seconds of grace. Nothing that was accepted is lost, and nobody is killed at the end of the grace: a process ends with 0 if
// each request that it has read was answered, and its log says with what.
func TestDeletedPodsAnswerWhatTheyAccepted(t *testing.T) {
	deletes, meet := 15, 5 // so few may fall on pods that just came, to which few connections lead yet
	if long() {
		deletes, meet = 200, 150
	}
	c := start(t)
	writeFaults(t, c, slowPredictions)
	apply(t, c, "testdata/short-grace")
	await := watchEnds(t, c)
	load := startLoad(t, c, "--rate", "40", "--connections", "100", "--body", prediction, "--check", "status == 200")
	client := inside(t, c)
	eventually(t, 30*time.Second, "as many requests are under way as will be", func() bool {
		sum := 0
		for _, pod := range readyPods(t, c, 0) {
			sum += inFlight(t, client, pod.Status.PodIP)
		}
		return sum >= 40
	})

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var kills []*kill
	var names []string
	var all sync.WaitGroup
	for len(kills) < deletes {
		pod := pickPod(t, c, rnd, 3)
		if slices.Contains(names, pod.Name) { // its deletion is under way
			continue
		}
		k := &kill{pod: pod}
		kills, names = append(kills, k), append(names, pod.Name)
		all.Go(func() { k.strike(t, c) })
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Millisecond)
	}
	all.Wait()
	ends := await(names...)
	outcome := load.stop(t)

	met, table := 0, strings.Builder{}
	slices.SortFunc(kills, func(a, b *kill) int { return a.inFlight - b.inFlight })
	for _, k := range kills {
		e := ends[k.pod.Name]
		if k.inFlight > 0 {
			met++
		}
		if e.code != 0 {
			t.Errorf("%s ended with %d (%s), with %d requests at the delete", k.pod.Name, e.code, e.reason, k.inFlight)
		}
		for _, line := range k.troubles {
			t.Errorf("%s: %s", k.pod.Name, line)
		}
		fmt.Fprintf(&table, "%9d %14s %14s %5d\n", k.inFlight, millis(k.notReady), millis(e.at.Sub(k.at)), e.code)
	}
	t.Logf("the deletes, by what was in flight:\nin flight  not ready after  ended after  exit\n%s", &table)
	t.Logf("%d deletes, %d with requests in flight: least %d, median %d, most %d", len(kills), met, kills[0].inFlight, kills[len(kills)/2].inFlight, kills[len(kills)-1].inFlight)
	if met < meet {
		t.Errorf("only %d of %d deletes met requests", met, len(kills))
	}
	outcome.nothingLost(t)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }

// kill is a pod that is deleted.
type kill struct {
	pod      corev1.Pod
	at       time.Time
	inFlight int
	troubles []string      // what its log has of refused and failed requests from the delete on
	notReady time.Duration // from the delete: the way over the API server, the kubelet and the runtime is in it
}

// strike deletes the pod and looks until it says that it is not ready.
func (k *kill) strike(t *testing.T, c *cluster.Cluster) {
	client := inside(t, c)
	defer client.CloseIdleConnections()
	k.inFlight = inFlight(t, client, k.pod.Status.PodIP)
	troubles := followTroubles(t, c, k.pod.Name)
	defer func() { k.troubles = troubles() }()
	k.at = time.Now()
	if err := c.Client().CoreV1().Pods(namespace).Delete(t.Context(), k.pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Errorf("%s: %v", k.pod.Name, err)
		return
	}
	var ok bool
	if k.notReady, ok = untilNotReady(t, client, &k.pod, k.at, 5*time.Millisecond); !ok {
		t.Errorf("%s is ready five seconds after it was deleted", k.pod.Name)
	}
}

// untilNotReady is how long after the instant the answer came by which a pod calls itself not ready.
func untilNotReady(t *testing.T, client *http.Client, pod *corev1.Pod, from time.Time, step time.Duration) (time.Duration, bool) {
	for time.Since(from) < 5*time.Second {
		answer, err := client.Get("http://" + pod.Status.PodIP + ":9090/readyz")
		if err != nil {
			t.Errorf("%s: no answer about readiness %v after: %v", pod.Name, time.Since(from), err)
			return 0, false
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusServiceUnavailable {
			return time.Since(from), true
		}
		time.Sleep(step)
	}
	return 0, false
}
