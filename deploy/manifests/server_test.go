package manifests

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
)

// Not the environment variable that kubectl reads: it may name somebody's production.
var kubeconfig = flag.String("kubeconfig", "", "file that names a cluster whose API server is to judge the manifests; nothing of them stays there")

func TestAPIServerTakesTheManifests(t *testing.T) {
	if *kubeconfig == "" {
		t.Skip("needs a cluster: -args -kubeconfig=FILE")
	}
	cluster, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		if err := CheckOnServer(ctx, cluster, objects); err != nil {
			t.Error(err)
		}
	})
	// And it does judge: a pod that may become root, and a time that there is not.
	for want, spoil := range map[string]func(*corev1.PodSpec){
		"runAsNonRoot":  func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil },
		"periodSeconds": func(p *corev1.PodSpec) { p.Containers[0].LivenessProbe.PeriodSeconds = -1 },
	} {
		objects := build(t, "demo")
		spoil(&the[*appsv1.Deployment](t, objects).Spec.Template.Spec)
		if err := CheckOnServer(ctx, cluster, objects); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Pod dougong-inference: ") {
			t.Errorf("%v does not refuse the pod for %s", err, want)
		}
	}
}
