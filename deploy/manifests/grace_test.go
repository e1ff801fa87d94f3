package manifests

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// reserve is what the end of a process may take beside its drain delay and its stop timeout: observers and the log have a
// second each for the last words, and a throttled process is slow.
const reserve = 5 * time.Second

// settings are the values of `dougong config default`, by path, with the environment over them.
type settings struct {
	defaults, env map[string]string
}

func settingsOf(t *testing.T, d *appsv1.Deployment) settings {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), "config", "default")
	cmd.Env = []string{}
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var sections map[string]any
	if err := yaml.Unmarshal(text, &sections); err != nil {
		t.Fatal(err)
	}
	s := settings{map[string]string{}, environment(t, d)}
	s.add("", sections)
	return s
}

func (s settings) add(prefix string, section map[string]any) {
	for key, value := range section {
		switch value := value.(type) {
		case map[string]any:
			s.add(prefix+key+".", value)
		default:
			s.defaults[prefix+key] = fmt.Sprint(value)
		}
	}
}

func (s settings) duration(t *testing.T, key string) time.Duration {
	t.Helper()
	text, ok := s.env["DOUGONG_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))]
	if !ok {
		text = s.defaults[key]
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return d
}

// grace is what the pod must be given from the delete to SIGKILL. A preStop that sleeps is part of it, as the kubelet's clock
// begins before.
func grace(t *testing.T, d *appsv1.Deployment) time.Duration {
	t.Helper()
	var preStop time.Duration
	if l := container(t, d).Lifecycle; l != nil && l.PreStop != nil {
		if l.PreStop.Sleep == nil {
			t.Fatal("a preStop that does not sleep: the image has nothing to execute")
		}
		preStop = time.Duration(l.PreStop.Sleep.Seconds) * time.Second
	}
	s := settingsOf(t, d)
	return preStop + s.duration(t, "lifecycle.drain_delay") + s.duration(t, "lifecycle.stop_timeout") + reserve
}

func TestGracePeriodFollowsFromTheDrainSettings(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		want := grace(t, d)
		got := d.Spec.Template.Spec.TerminationGracePeriodSeconds
		if got == nil || time.Duration(*got)*time.Second != want {
			t.Errorf("terminationGracePeriodSeconds: drain delay, stop timeout and %v make %v", reserve, want)
		}
		s := settingsOf(t, d)
		for _, key := range []string{"http.drain_timeout", "grpc.drain_timeout"} {
			if s.duration(t, key) > s.duration(t, "lifecycle.stop_timeout")*9/10 {
				t.Errorf("%s is cut short by lifecycle.stop_timeout", key)
			}
		}
	})
}

// TestLivenessIsPatient: a process that waits for its share of a processor is not dead.
func TestLivenessIsPatient(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		p := container(t, d).LivenessProbe
		patience := time.Duration(p.PeriodSeconds*(p.FailureThreshold-1)+p.TimeoutSeconds) * time.Second
		if patience < 20*time.Second {
			t.Errorf("a process that is throttled to standing still has %v before it is restarted", patience)
		}
	})
}

// TestRolloutWaitsForTheStart: who starts as slowly as it may is not called a failed rollout.
func TestRolloutWaitsForTheStart(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		start := settingsOf(t, d).duration(t, "lifecycle.start_timeout")
		progress := time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second
		if settled := start + time.Duration(d.Spec.MinReadySeconds)*time.Second; progress < 2*settled {
			t.Errorf("progressDeadlineSeconds %v, and a pod may take %v", progress, settled)
		}
	})
}

// TestMemoryHoldsWhatIsInFlight: the budget of bodies and answers, and as much again as the process has at rest.
func TestMemoryHoldsWhatIsInFlight(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []runtime.Object) {
		d := the[*appsv1.Deployment](t, objects)
		s := settingsOf(t, d)
		if _, ok := s.env["DOUGONG_INFERENCE_IN_FLIGHT_BYTES"]; ok || s.defaults["inference.in_flight_bytes"] != "256MiB" {
			t.Fatal("this test knows inference.in_flight_bytes as 256MiB only")
		}
		resources := container(t, d).Resources
		if soft := resources.Limits.Memory().Value() / 10 * 9; soft < (256+2*64)<<20 {
			t.Errorf("nine tenths of the memory limit are %d bytes", soft)
		}
		if !resources.Limits.Memory().Equal(*resources.Requests.Memory()) {
			t.Errorf("memory that was not asked for may be taken back: %v", resources)
		}
	})
}

// TestGraceIsComputed: the formula sees each of its parts.
func TestGraceIsComputed(t *testing.T) {
	d := the[*appsv1.Deployment](t, build(t, "demo"))
	before := grace(t, d)
	for i, v := range d.Spec.Template.Spec.Containers[0].Env {
		if v.Name == "DOUGONG_HTTP_LISTEN" { // any will do
			d.Spec.Template.Spec.Containers[0].Env[i].Name, d.Spec.Template.Spec.Containers[0].Env[i].Value = "DOUGONG_LIFECYCLE_DRAIN_DELAY", "30s"
		}
	}
	if after := grace(t, d); after != before+25*time.Second {
		t.Errorf("with a drain delay of 30 s: %v, before %v", after, before)
	}
}
