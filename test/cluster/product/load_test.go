package product

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const prediction = `{"model":"loan-mini","input":[0.1,0.9]}`

// load is `dougong load` on the Service, from within the cluster's network. It sends no request twice.
type load struct {
	cmd    *exec.Cmd
	said   bytes.Buffer
	result string
}

// startLoad offers load over the Service's address, until it is stopped.
func startLoad(t *testing.T, c *cluster.Cluster, flags ...string) *load {
	t.Helper()
	binary, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	service, err := c.Client().CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	address := service.Spec.ClusterIP
	l := &load{result: filepath.Join(t.TempDir(), "load.json")}
	args := append([]string{"load", "http://" + address + ":8080/v1/predict", "--allow-remote", "--confirm", address, "--plain",
		"--for", "30m", "--json", l.result, "-H", "Authorization: Bearer " + token}, flags...)
	l.cmd = c.Command(t.Context(), binary, args...)
	l.cmd.Stdout, l.cmd.Stderr = &l.said, &l.said
	l.cmd.Cancel = func() error { return l.cmd.Process.Signal(os.Interrupt) }
	l.cmd.WaitDelay = 20 * time.Second
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

// outcome is what became of the requests.
type outcome struct {
	Seconds    float64           `json:"seconds"`
	Due        uint64            `json:"due"`
	OK         uint64            `json:"ok"`
	Unfinished uint64            `json:"unfinished"` // when the load ended
	Failed     map[string]uint64 `json:"failed"`
	Status     map[string]uint64 `json:"status"`
	Connects   uint64            `json:"connects"`
}

// stop ends the load, which then reports what ran.
func (l *load) stop(t *testing.T) outcome {
	t.Helper()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("%v\n%s", err, l.said.String())
	}
	l.cmd.Wait() // 130: it was interrupted
	data, err := os.ReadFile(l.result)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.said.String())
	}
	var r struct {
		Total  outcome         `json:"total"`
		Errors json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	t.Logf("load: %d requests, %d answered, %d under way when it ended, failed %v, statuses %v, %d connections", r.Total.Due, r.Total.OK, r.Total.Unfinished, r.Total.Failed, r.Total.Status, r.Total.Connects)
	if len(r.Total.Failed) > 0 {
		t.Logf("failures: %s", r.Errors)
	}
	return r.Total
}

// predict asks a pod, or a Service, for a prediction.
func predict(t *testing.T, client *http.Client, ip, body string) (status int, answer string) {
	t.Helper()
	return ask(t, client, predictRequest(t, ip, body))
}

func predictRequest(t *testing.T, ip, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ip+":8080/v1/predict", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// ask reads the answer to a request.
func ask(t *testing.T, client *http.Client, r *http.Request) (status int, answer string) {
	t.Helper()
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// nothingFailed fails the test if a request did.
func (o outcome) nothingFailed(t *testing.T) {
	t.Helper()
	if len(o.Failed) > 0 || o.OK == 0 || o.OK+o.Unfinished != o.Due {
		t.Errorf("of %d requests %d were answered, %d were under way at the end, and these failed: %v", o.Due, o.OK, o.Unfinished, o.Failed)
	}
}

// nothingLost fails the test if a request was lost that a pod had taken. Two things may happen to one that none has: on a busy
// machine the Service leads it to a pod that takes no more, and it is refused; or it is sent on an idle connection in the very
// moment in which the pod closes that, of which no server knows.
func (o outcome) nothingLost(t *testing.T) {
	t.Helper()
	for class, n := range o.Failed {
		switch class {
		case "refused":
		case "closed", "reset":
			if 1000*n > o.Due {
				t.Errorf("of %d requests %d ended as %s", o.Due, n, class)
			}
		default:
			t.Errorf("of %d requests %d failed as %s", o.Due, n, class)
		}
	}
	if 100*o.OK < 99*o.Due {
		t.Errorf("of %d requests %d were answered", o.Due, o.OK)
	}
}
