package manifests

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// overlays are what people apply, with the kinds that come out of each.
var overlays = map[string][]string{
	"demo":       {"Deployment", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service", "ServiceAccount"},
	"production": {"Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"},
}

// eachOverlay runs a test for each of them.
func eachOverlay(t *testing.T, test func(t *testing.T, objects []runtime.Object)) {
	for name := range overlays {
		t.Run(name, func(t *testing.T) { test(t, build(t, name)) })
	}
}

func build(t *testing.T, overlay string) []runtime.Object {
	t.Helper()
	objects, err := Build("../overlays/" + overlay)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// the returns the one object of its type.
func the[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	all := every[T](objects)
	if len(all) != 1 {
		t.Fatalf("there are %d of %T, not one", len(all), *new(T))
	}
	return all[0]
}

func every[T runtime.Object](objects []runtime.Object) (all []T) {
	for _, object := range objects {
		if o, ok := object.(T); ok {
			all = append(all, o)
		}
	}
	return all
}

func container(t *testing.T, d *appsv1.Deployment) corev1.Container {
	t.Helper()
	if n := len(d.Spec.Template.Spec.Containers); n != 1 {
		t.Fatalf("the pod has %d containers, not one", n)
	}
	return d.Spec.Template.Spec.Containers[0]
}

func environment(t *testing.T, d *appsv1.Deployment) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, v := range container(t, d).Env {
		if _, ok := env[v.Name]; ok || v.ValueFrom != nil {
			t.Errorf("%s is set twice, or not in plain", v.Name)
		}
		env[v.Name] = v.Value
	}
	return env
}

func TestOverlaysHaveWhatTheyShould(t *testing.T) {
	for name, want := range overlays {
		t.Run(name, func(t *testing.T) {
			var kinds []string
			for _, object := range build(t, name) {
				kinds = append(kinds, object.GetObjectKind().GroupVersionKind().Kind)
				m := object.(metav1.Object)
				if _, ok := object.(*corev1.Namespace); !ok && m.GetNamespace() != "dougong" {
					t.Errorf("%s %s is in namespace %q", kinds[len(kinds)-1], m.GetName(), m.GetNamespace())
				}
			}
			if slices.Sort(kinds); !slices.Equal(kinds, want) {
				t.Errorf("kinds %v, want %v", kinds, want)
			}
			d := the[*appsv1.Deployment](t, build(t, name))
			if d.Name != "dougong-inference" || !strings.HasPrefix(container(t, d).Image, "ghcr.io/dougong-io/dougong") {
				t.Errorf("%s runs %s", d.Name, container(t, d).Image)
			}
		})
	}
}

// TestSelectorsFindThePods: one that finds none is no error anywhere.
func TestSelectorsFindThePods(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		pod := labels.Set(d.Spec.Template.Labels)
		selectors := map[string]*metav1.LabelSelector{
			"Deployment":          d.Spec.Selector,
			"PodDisruptionBudget": the[*policyv1.PodDisruptionBudget](t, objects).Spec.Selector,
			"NetworkPolicy":       &the[*networkingv1.NetworkPolicy](t, objects).Spec.PodSelector,
			"Service":             {MatchLabels: the[*corev1.Service](t, objects).Spec.Selector},
		}
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			selectors["spread over "+c.TopologyKey] = c.LabelSelector
		}
		for what, s := range selectors {
			selector, err := metav1.LabelSelectorAsSelector(s)
			if err != nil || selector.Empty() || !selector.Matches(pod) {
				t.Errorf("%s: %v (%v) does not find %v", what, selector, err, pod)
			}
		}
		for _, hpa := range every[*autoscalingv2.HorizontalPodAutoscaler](objects) {
			if to := hpa.Spec.ScaleTargetRef; to.Kind != "Deployment" || to.Name != d.Name || to.APIVersion != appsv1.SchemeGroupVersion.String() {
				t.Errorf("the autoscaler scales %v", to)
			}
		}
	})
}

// TestPodsAreSpreadOncePerTopology: an overlay that changes a constraint must not add one beside it.
func TestPodsAreSpreadOncePerTopology(t *testing.T) {
	strict := map[string]corev1.UnsatisfiableConstraintAction{"demo": corev1.ScheduleAnyway, "production": corev1.DoNotSchedule}
	for name := range overlays {
		constraints := the[*appsv1.Deployment](t, build(t, name)).Spec.Template.Spec.TopologySpreadConstraints
		if len(constraints) != 2 || constraints[0].TopologyKey != "kubernetes.io/hostname" || constraints[1].TopologyKey != "topology.kubernetes.io/zone" {
			t.Fatalf("%s: pods are spread by %+v, want nodes and zones", name, constraints)
		}
		if constraints[0].WhenUnsatisfiable != strict[name] || constraints[1].WhenUnsatisfiable != corev1.ScheduleAnyway {
			t.Errorf("%s: nodes %s, zones %s", name, constraints[0].WhenUnsatisfiable, constraints[1].WhenUnsatisfiable)
		}
		for _, c := range constraints {
			if c.NodeTaintsPolicy == nil || *c.NodeTaintsPolicy != corev1.NodeInclusionPolicyHonor || !slices.Contains(c.MatchLabelKeys, appsv1.DefaultDeploymentUniqueLabelKey) {
				t.Errorf("%s: spread over %s counts nodes that are drained, or pods of another version", name, c.TopologyKey)
			}
		}
	}
}

// TestPortsAreThoseThatTheProcessListensOn: a name that no container port has is no error before the first packet.
func TestPortsAreThoseThatTheProcessListensOn(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		env := environment(t, d)
		ports := map[string]int32{}
		for _, p := range container(t, d).Ports {
			ports[p.Name] = p.ContainerPort
			if listen, want := env["DOUGONG_"+strings.ToUpper(p.Name)+"_LISTEN"], fmt.Sprintf(":%d", p.ContainerPort); listen != want {
				t.Errorf("port %s is %s, and the process listens on %q", p.Name, want, listen)
			}
		}
		if len(ports) != 3 {
			t.Errorf("ports %v, want three", ports)
		}
		exposed := map[string]bool{}
		for _, p := range the[*corev1.Service](t, objects).Spec.Ports {
			exposed[p.TargetPort.StrVal] = true
			if ports[p.TargetPort.StrVal] != p.Port {
				t.Errorf("the Service sends %d to %v", p.Port, p.TargetPort)
			}
		}
		if !exposed["http"] || !exposed["grpc"] || exposed["admin"] {
			t.Errorf("the Service has the ports %v, want the public ones", exposed)
		}
		policy := the[*networkingv1.NetworkPolicy](t, objects)
		if len(policy.Spec.PolicyTypes) != 2 || len(policy.Spec.Egress) != 0 {
			t.Errorf("the NetworkPolicy lets pods call somebody: %v", policy.Spec)
		}
		for _, rule := range policy.Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Errorf("a rule lets anybody in, or to any port: %v", rule)
			}
			for _, p := range rule.Ports {
				if ports[p.Port.StrVal] == 0 {
					t.Errorf("the NetworkPolicy names the port %v", p.Port)
				}
			}
		}
		c := container(t, d)
		for what, probe := range map[string]*corev1.Probe{"/readyz?wait=2s": c.ReadinessProbe, "/healthz": c.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != what || probe.HTTPGet.Port != intstr.FromString("admin") {
				t.Errorf("the probe of %s asks %+v", what, probe)
			}
		}
		probe, _ := url.Parse(c.ReadinessProbe.HTTPGet.Path)
		if wait, err := time.ParseDuration(probe.Query().Get("wait")); err != nil || wait >= time.Duration(c.ReadinessProbe.TimeoutSeconds)*time.Second {
			t.Errorf("the answer about readiness is held for %v (%v), and the kubelet waits for %d s", wait, err, c.ReadinessProbe.TimeoutSeconds)
		}
		annotations := d.Spec.Template.Annotations
		if annotations["prometheus.io/scrape"] != "true" || annotations["prometheus.io/port"] != fmt.Sprint(ports["admin"]) || annotations["prometheus.io/path"] != "/metrics" {
			t.Errorf("scrapers are told %v", annotations)
		}
	})
}

// TestNobodyCountsBesideTheAutoscaler: with replicas in the Deployment, an apply in the midst of a peak takes the pods away.
func TestNobodyCountsBesideTheAutoscaler(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		scaled := every[*autoscalingv2.HorizontalPodAutoscaler](objects)
		replicas := the[*appsv1.Deployment](t, objects).Spec.Replicas
		if (len(scaled) > 0) != (replicas == nil) {
			t.Errorf("%d autoscalers beside replicas %v", len(scaled), replicas)
		}
		if len(scaled) == 0 {
			return
		}
		spec := scaled[0].Spec
		if spec.MinReplicas == nil || *spec.MinReplicas != 3 {
			t.Errorf("least replicas %v, want 3", spec.MinReplicas)
		}
		resources := container(t, the[*appsv1.Deployment](t, objects)).Resources
		cpu := resources.Requests.Cpu()
		if spec.Metrics[0].Resource == nil || spec.Metrics[0].Resource.Name != corev1.ResourceCPU || cpu.IsZero() {
			t.Errorf("the first metric is %v, of a request of %v", spec.Metrics[0], cpu)
		}
	})
}

// TestOnlyTheDemoBringsATokenOfItsOwn: a token that is printed in this repository opens no production.
func TestOnlyTheDemoBringsATokenOfItsOwn(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		volume := d.Spec.Template.Spec.Volumes[0]
		if volume.Secret == nil || volume.Secret.SecretName != "dougong-tokens" || volume.Secret.DefaultMode == nil || *volume.Secret.DefaultMode&0o007 != 0 {
			t.Errorf("tokens come from %+v", volume)
		}
		mount := container(t, d).VolumeMounts[0]
		env := environment(t, d)
		for _, listener := range []string{"HTTP", "GRPC", "ADMIN"} {
			if file := env["DOUGONG_"+listener+"_TOKENS_FILE"]; file != mount.MountPath+"/tokens.json" || mount.SubPath != "" {
				t.Errorf("%s reads %q, and the Secret is at %+v", listener, file, mount)
			}
		}
		for _, secret := range every[*corev1.Secret](objects) {
			if secret.Name != volume.Secret.SecretName {
				t.Errorf("Secret %s: no pod reads it", secret.Name)
			}
			if tokens := string(secret.Data["tokens.json"]); !strings.Contains(tokens, `"roles": ["read"]`) || strings.Count(tokens, `"roles"`) != 1 {
				t.Errorf("a token that everybody knows may do more than read: %s", tokens)
			}
		}
	})
}
