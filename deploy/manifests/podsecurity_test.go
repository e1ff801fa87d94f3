package manifests

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// restricted returns what Pod Security has against a Deployment's pods at its strictest level.
func restricted(t *testing.T, d *appsv1.Deployment) policy.AggregateCheckResult {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	return policy.AggregateCheckResults(evaluator.EvaluatePod(level, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec))
}

func TestPodsPassPodSecurityRestricted(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		if result := restricted(t, d); !result.Allowed {
			t.Error(result.ForbiddenDetail())
		}
		// What Pod Security does not ask for, and we do.
		pod, c := d.Spec.Template.Spec, container(t, d)
		if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Error("the root file system can be written to")
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || pod.ServiceAccountName != the[*corev1.ServiceAccount](t, objects).Name {
			t.Errorf("the pod has a token of the API server, or another's account %q", pod.ServiceAccountName)
		}
		if pod.SecurityContext.RunAsUser == nil || *pod.SecurityContext.RunAsUser != 65532 {
			t.Error("the user is not that of the image")
		}
		namespace := the[*corev1.Namespace](t, objects)
		if namespace.Labels[api.EnforceLevelLabel] != string(api.LevelRestricted) {
			t.Errorf("namespace %s enforces nothing: %v", namespace.Name, namespace.Labels)
		}
	})
}

// TestPodSecurityIsAsked: each thing that the manifests leave out would be found.
func TestPodSecurityIsAsked(t *testing.T) {
	yes := true
	for name, spoil := range map[string]func(*corev1.PodSpec){
		"root":         func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil },
		"seccomp":      func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
		"capabilities": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.Capabilities = nil },
		"escalation":   func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.AllowPrivilegeEscalation = &yes },
		"host network": func(p *corev1.PodSpec) { p.HostNetwork = true },
	} {
		d := the[*appsv1.Deployment](t, build(t, "demo"))
		spoil(&d.Spec.Template.Spec)
		if restricted(t, d).Allowed {
			t.Errorf("%s: not found", name)
		}
	}
}
