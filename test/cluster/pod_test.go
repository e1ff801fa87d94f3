package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A deployment with a pod on each node, a service before it, logs, metrics, kubectl; and then nothing is left.
func TestPodsOnTwoNodesServeAndNothingRemains(t *testing.T) {
	needsCluster(t)
	image := buildImage(t)
	var c *Cluster
	if os.Getenv("DOUGONG_CLUSTER") != "" {
		c = Start(t, image)
	} else {
		dir := clusterDir(t)
		begun := time.Now()
		if _, err := Up(t.Context(), Config{Dir: dir, Nodes: 2, Images: []string{image}, Progress: logWriter{t}}); err != nil {
			t.Fatal(err)
		}
		t.Logf("up in %s", time.Since(begun).Round(time.Millisecond))
		if _, err := Up(t.Context(), Config{Dir: dir, Nodes: 2}); !errors.Is(err, ErrRunning) {
			t.Errorf("a second start in the folder: %v", err)
		}
		var err error
		if c, err = Attach(dir); err != nil { // as anybody else would
			t.Fatal(err)
		}
		if text, err := Status(t.Context(), dir); err != nil || strings.Count(text, " ready\n") != 2 {
			t.Errorf("status: %v\n%s", err, text)
		}
	}
	ctx, client := t.Context(), c.Client()
	space := newNamespace(t, c)

	begun := time.Now()
	deploy(t, c, space)
	pods, err := client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) != 2 {
		t.Fatalf("%v, %d pods", err, len(pods.Items))
	}
	t.Logf("two pods ready %s after the deployment was made", time.Since(begun).Round(time.Millisecond))
	if a, b := pods.Items[0].Spec.NodeName, pods.Items[1].Spec.NodeName; a == b {
		t.Errorf("both pods are on %s", a)
	}

	service, err := client.CoreV1().Services(space).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "echo"},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}}
	seen := map[string]bool{}
	within(t, 20*time.Second, func() error {
		body, err := get(web, "http://"+service.Spec.ClusterIP)
		if err == nil {
			seen[body] = true
		}
		if len(seen) == 2 {
			return nil
		}
		return fmt.Errorf("the service answered as %v: %w", sortedKeys(seen), err)
	})

	for _, pod := range pods.Items {
		out, err := client.CoreV1().Pods(space).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if want := "echo of " + pod.Name + "\n"; err != nil || string(out) != want {
			t.Errorf("logs of %s: %q, %v", pod.Name, out, err)
		}
	}
	out, err := c.Command(ctx, "kubectl", "--namespace", space, "get", "pods", "--no-headers").CombinedOutput()
	if err != nil || strings.Count(string(out), "Running") != 2 {
		t.Errorf("kubectl: %v\n%s", err, out)
	}
	begun = time.Now()
	within(t, 90*time.Second, func() error {
		data, err := client.RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/" + space + "/pods").DoRaw(ctx)
		if err == nil && strings.Count(string(data), `"usage"`) < 2 {
			err = fmt.Errorf("no metrics of two pods: %s", data)
		}
		return err
	})
	t.Logf("metrics of both pods after %s more", time.Since(begun).Round(time.Millisecond))

	begun = time.Now()
	if err := client.AppsV1().Deployments(space).Delete(ctx, "echo", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, func() error {
		pods, err := client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
	t.Logf("pods are gone %s after the delete", time.Since(begun).Round(time.Millisecond))
	deploy(t, c, space) // for the end to have pods to end
}

func TestStartedClusterEndsWithItsTest(t *testing.T) {
	needsCluster(t)
	t.Setenv("DOUGONG_CLUSTER", "")
	image := buildImage(t)
	var dir string
	t.Run("", func(t *testing.T) {
		c := Start(t, image)
		dir = c.config.Dir
		deploy(t, c, "default")
	})
	wantNothing(t, dir)
}

var labels = map[string]string{"app": "echo"}

// newNamespace makes one that is removed after the test.
func newNamespace(t *testing.T, c *Cluster) string {
	t.Helper()
	spaces := c.Client().CoreV1().Namespaces()
	made, err := spaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		if err := spaces.Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return made.Name
}

// deploy makes a deployment of two pods, one a node, and waits until they are ready.
func deploy(t *testing.T, c *Cluster, space string) {
	t.Helper()
	two, grace := int32(2), int64(1)
	deployments := c.Client().AppsV1().Deployments(space)
	_, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "echo"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &two,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &grace,
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
						LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
					}},
					Containers: []corev1.Container{{
						Name:  "echo",
						Image: echoImage,
						ReadinessProbe: &corev1.Probe{
							PeriodSeconds: 1,
							ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8080)}},
						},
					}},
				},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, func() error {
		d, err := deployments.Get(t.Context(), "echo", metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas < two {
			err = fmt.Errorf("%d of 2 pods are available", d.Status.AvailableReplicas)
		}
		return err
	})
}

func get(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return strings.TrimSpace(string(body)), err
}
