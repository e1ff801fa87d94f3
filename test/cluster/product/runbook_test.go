package product

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// TestRunBookTellsHowStartsFail: docs/kubernetes.md, "CrashLoopBackOff within seconds". Each change is rolled out over pods
// that serve: they go on serving, and the way back is the one that people take.
func TestRunBookTellsHowStartsFail(t *testing.T) {
	c := start(t)
	apply(t, c, demo)
	load := startLoad(t, c, "--rate", "50", "--connections", "8", "--body", prediction, "--check", "status == 200")
	variable := func(name, value string) func(*corev1.Container) {
		return func(c *corev1.Container) {
			c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
		}
	}
	for _, test := range []struct {
		what   string
		change func(*corev1.Container)
		code   int32
		reason string
		says   []string // in what `kubectl describe pod` shows
	}{
		{"two settings", func(c *corev1.Container) {
			variable("DOUGONG_INFERENCE_SLOTS", "-1")(c)
			variable("DOUGONG_INFERENCE_QUEUE", "-1")(c)
		}, 2, "Error", []string{"DOUGONG_INFERENCE_SLOTS: inference.slots: ", "DOUGONG_INFERENCE_QUEUE: inference.queue: "}},
		{"a file", variable("DOUGONG_HTTP_TOKENS_FILE", "/nowhere"), 2, "Error", []string{"http.tokens_file: ", "/nowhere"}},
		{"a variable that nobody knows", variable("DOUGONG_INFERENCE_SLOT", "2"), 2, "Error", []string{"DOUGONG_INFERENCE_SLOT"}},
		{"an injected agent", variable("LD_PRELOAD", "/agent.so"), 2, "Error", []string{"hardened mode: LD_PRELOAD is set"}},
		{"a port for two", variable("DOUGONG_HTTP_LISTEN", ":9090"), 2, "Error", []string{"admin.listen: :9090 is http.listen already"}},
		{"a folder without a model", variable("DOUGONG_INFERENCE_REPOSITORY", "/etc"), 1, "Error", []string{`"error_code":"stopped_with_error"`, "/etc"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			old := map[string]bool{}
			for _, pod := range listPods(t, c) {
				old[pod.Name] = true
			}
			edit(t, c, test.change)
			var ended corev1.ContainerStateTerminated
			eventually(t, 30*time.Second, "a new pod has failed", func() bool {
				for _, pod := range listPods(t, c) {
					for _, s := range pod.Status.ContainerStatuses {
						if e := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated); !old[pod.Name] && e != nil {
							ended = *e
							return true
						}
					}
				}
				return false
			})
			t.Logf("exit code %d, %s: %.600s", ended.ExitCode, ended.Reason, strings.TrimSpace(ended.Message))
			if ended.ExitCode != test.code || ended.Reason != test.reason {
				t.Errorf("exit code %d, reason %s, want %d, %s", ended.ExitCode, ended.Reason, test.code, test.reason)
			}
			for _, want := range test.says {
				if !strings.Contains(ended.Message, want) {
					t.Errorf("%q is not in the message", want)
				}
			}
			if n := len(readyPods(t, c, 0)); n != 2 {
				t.Errorf("%d pods serve, want the old ones", n)
			}
			kubectl(t, c, "-n", namespace, "rollout", "undo", "deployment/"+name)
			kubectl(t, c, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=60s")
		})
	}
	load.stop(t).nothingFailed(t)
}

// TestRunBookTellsWhatTooMuchMemoryLooksLike: a request after which the process holds more than its pod may.
func TestRunBookTellsWhatTooMuchMemoryLooksLike(t *testing.T) {
	c := start(t)
	writeFaults(t, c, `"point":"http.request","where":{"route":"GET /v1/models"},"memory":{"bytes":200000000}`)
	apply(t, c, "testdata/short-grace")
	edit(t, c, func(c *corev1.Container) {
		most := resource.MustParse("128Mi")
		c.Resources.Limits[corev1.ResourceMemory], c.Resources.Requests[corev1.ResourceMemory] = most, most
	})
	kubectl(t, c, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=60s")
	pod := onePod(t, c)
	await := watchEnds(t, c)
	if answer, err := inside(t, c).Do(modelsRequest(t, pod.Status.PodIP)); err == nil {
		answer.Body.Close()
	}
	if e := await(pod.Name)[pod.Name]; e.code != 137 || e.reason != "OOMKilled" {
		t.Errorf("exit code %d, %s, want 137, OOMKilled", e.code, e.reason)
	}
	eventually(t, 30*time.Second, "it serves again", func() bool { return len(readyPods(t, c, 0)) == 5 })
}

// TestRunBookTellsWhatAMissingSecretLooksLike: the pods wait for it, and start when it comes.
func TestRunBookTellsWhatAMissingSecretLooksLike(t *testing.T) {
	c := start(t)
	apply(t, c, demo)
	secret, err := c.Client().CoreV1().Secrets(namespace).Get(t.Context(), "dougong-tokens", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, c, "-n", namespace, "delete", "secret", secret.Name)
	kubectl(t, c, "-n", namespace, "rollout", "restart", "deployment/"+name)
	eventually(t, 30*time.Second, "an event says FailedMount, of the Secret", func() bool {
		events, err := c.Client().CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedMount"})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return strings.Contains(e.Message, `"dougong-tokens" not found`) })
	})
	eventually(t, 30*time.Second, "a pod waits in ContainerCreating", func() bool {
		return slices.ContainsFunc(listPods(t, c), func(pod corev1.Pod) bool {
			return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
				return s.State.Waiting != nil && s.State.Waiting.Reason == "ContainerCreating"
			})
		})
	})
	if n := len(readyPods(t, c, 0)); n != 2 {
		t.Errorf("%d pods serve meanwhile", n)
	}
	secret.ResourceVersion = ""
	if _, err := c.Client().CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kubectl(t, c, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=110s")
}

// TestRunBookTellsWhichAnswersAre503 also has requests panic: that costs them, and not the process.
func TestRunBookTellsWhichAnswersAre503(t *testing.T) {
	c := start(t)
	writeFaults(t, c,
		`"point":"http.request","where":{"route":"GET /v1/models"},"error":{"http_status":503}`,
		`"point":"inference.score","where":{"model":"loan-lite"},"error":{"cause":"io"}`,
		`"point":"inference.decode","where":{"tenant":"demo"},"every":7,"panic":{}`,
	)
	apply(t, c, "testdata/short-grace")
	client := inside(t, c)
	pod := onePod(t, c)
	ip := pod.Status.PodIP

	code, answer := ask(t, client, modelsRequest(t, ip))
	wantProblem(t, code, answer, 503, "injected_fault")

	lite := `{"model":"loan-lite","input":[` + strings.Repeat("0,", 71) + `0]}`
	eventually(t, 20*time.Second, "the circuit of loan-lite is open", func() bool {
		code, answer = predict(t, client, ip, lite)
		return code == http.StatusServiceUnavailable && strings.Contains(answer, "model_failing")
	})
	wantProblem(t, code, answer, 503, "model_failing")
	panics := 0
	for range 40 { // another model goes on, but for those that panic
		switch code, answer := predict(t, client, ip, prediction); code {
		case http.StatusOK:
		case http.StatusInternalServerError:
			wantProblem(t, code, answer, 500, "internal")
			panics++
		default:
			t.Errorf("%d %s", code, answer)
		}
	}
	series, err := readMetrics(client, ip)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0.0
	for name, value := range series {
		if strings.HasPrefix(name, "dougong_http_panics_total") {
			seen += value
		}
	}
	if panics < 4 || seen < float64(panics) {
		t.Errorf("%d panics were answered, the metric has %.0f", panics, seen)
	}
	r := modelsRequest(t, ip)
	r.URL.Path = "/metrics" // what a scraper that mistakes the port is told
	if code, _ := ask(t, client, r); code != http.StatusNotFound {
		t.Errorf("/metrics on the public port: %d", code)
	}
	livesOn(t, c, &pod)
}

func modelsRequest(t *testing.T, ip string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ip+":8080/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func wantProblem(t *testing.T, code int, answer string, want int, problem string) {
	t.Helper()
	if code != want || !strings.Contains(answer, fmt.Sprintf(`"code":%q`, problem)) {
		t.Errorf("%d %s, want %d %s", code, answer, want, problem)
	}
}

// edit changes the container of the Deployment.
func edit(t *testing.T, c *cluster.Cluster, change func(*corev1.Container)) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		deployment, err := c.Client().AppsV1().Deployments(namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(&deployment.Spec.Template.Spec.Containers[0])
		_, err = c.Client().AppsV1().Deployments(namespace).Update(context.Background(), deployment, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
