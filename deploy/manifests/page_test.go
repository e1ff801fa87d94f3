package manifests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are those of kubernetes.md in a language.
func blocks(t *testing.T, language string) (all []string) {
	t.Helper()
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page(t, "kubernetes.md"), -1) {
		all = append(all, match[1])
	}
	return all
}

// names are what a pattern finds in kubernetes.md, each once.
func names(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(page(t, "kubernetes.md"), -1) {
		found[match[1]] = true
	}
	if len(found) == 0 {
		t.Fatalf("%s finds nothing: does the pattern still fit?", pattern)
	}
	return found
}

func TestPagesManifestsAreOfKubernetes(t *testing.T) {
	decoded := 0
	for _, block := range blocks(t, "yaml") {
		if !strings.HasPrefix(block, "apiVersion:") || strings.Contains(block, "monitoring.coreos.com") {
			continue
		}
		objects, err := Decode([]byte(block))
		if err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
		// A patch is no pod; what it adds has to pass with the rest.
		for _, patch := range every[*appsv1.Deployment](objects) {
			d := the[*appsv1.Deployment](t, build(t, "production"))
			d.Spec.Template.Spec.Volumes = append(d.Spec.Template.Spec.Volumes, patch.Spec.Template.Spec.Volumes...)
			if result := restricted(t, d); !result.Allowed {
				t.Errorf("%s in\n%s", result.ForbiddenDetail(), block)
			}
		}
		decoded++
	}
	if decoded == 0 {
		t.Error("no manifest on the page")
	}
}

func TestPageNamesMetricsThatExist(t *testing.T) {
	documented := page(t, "metrics.md")
	for name := range names(t, `\b((?:dougong|http_request|grpc_server)_[a-z0-9_]+)\b`) {
		family := strings.TrimSuffix(name, "_bucket")
		if name != adapterRule(t).Name.As && !strings.Contains(documented, "| `"+family+"` |") {
			t.Errorf("%s is no metric of ours", name)
		}
	}
	p := start(t, build(t, "demo"))
	p.awaitServing()
	_, scraped := p.ask("GET", p.admin+"/metrics", "", "")
	for name := range names(t, "`((?:go|process)_[a-z0-9_]+)`") {
		if !strings.Contains(scraped, "\n"+name+" ") {
			t.Errorf("the process does not show %s", name)
		}
	}
}

func TestPageNamesSettingsThatExist(t *testing.T) {
	s := settingsOf(t, the[*appsv1.Deployment](t, build(t, "demo")))
	known := map[string]bool{"DOUGONG_LONG": true} // of the tests
	for key := range s.defaults {
		known[key] = true
		known["DOUGONG_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = true
	}
	for name := range names(t, `\b(DOUGONG_[A-Z_]+)\b`) {
		if !known[name] {
			t.Errorf("%s sets nothing", name)
		}
	}
	for key := range names(t, "`((?:http|grpc|admin|lifecycle|inference|memory|coordination)\\.[a-z_.]+)`") {
		if !known[key] {
			t.Errorf("%s is no setting", key)
		}
	}
}

// TestPageNamesWhatTheLogSays: error codes, codes of answers and messages are strings of the source.
func TestPageNamesWhatTheLogSays(t *testing.T) {
	var source strings.Builder
	for _, room := range []string{"internal", "services", "kit"} {
		err := filepath.WalkDir(filepath.Join("../..", room), func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := os.ReadFile(file)
			source.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text := source.String()
	for _, pattern := range []string{"error_code `([^`]+)`", "log line `([^`]+)`", "the log has `([^`]+)`", "(?m)^\\| `([a-z_]+)`[^|]*\\|.*\\|.*\\|$"} {
		for name := range names(t, pattern) {
			if !strings.Contains(text, `"`+name+`"`) && !strings.HasPrefix(name, "dougong_") && !strings.HasPrefix(name, "go_") && overlays[name] == nil && name != "up" {
				t.Errorf("nothing in the source says %q", name)
			}
		}
	}
}

// rule is as much of a rule of prometheus-adapter as we rely on.
type rule struct {
	SeriesQuery  string `json:"seriesQuery"`
	Name         struct{ Matches, As string }
	MetricsQuery string `json:"metricsQuery"`
}

func adapterRule(t *testing.T) rule {
	t.Helper()
	text, err := os.ReadFile("../prometheus/adapter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Rules []rule }
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Rules) != 1 {
		t.Fatalf("%d rules, %v", len(file.Rules), err)
	}
	return file.Rules[0]
}

// TestAutoscalerAsksForWhatTheAdapterMakes of what the process shows, by the query that the page has.
func TestAutoscalerAsksForWhatTheAdapterMakes(t *testing.T) {
	r := adapterRule(t)
	asked := ""
	for _, m := range the[*autoscalingv2.HorizontalPodAutoscaler](t, build(t, "production")).Spec.Metrics {
		if m.Pods != nil {
			asked = m.Pods.Metric.Name
		}
	}
	if asked == "" || asked != r.Name.As {
		t.Errorf("the autoscaler asks for %q, and the adapter makes %q", asked, r.Name.As)
	}
	series, _, _ := strings.Cut(r.SeriesQuery, "{")
	if matches, err := regexp.MatchString(r.Name.Matches, series); err != nil || !matches {
		t.Errorf("%s does not match %s: %v", r.Name.Matches, series, err)
	}
	if family := strings.TrimSuffix(series, "_bucket"); !strings.Contains(page(t, "metrics.md"), "| `"+family+"` | histogram |") {
		t.Errorf("%s is no histogram of ours", family)
	}
	query := strings.NewReplacer("<<.Series>>{<<.LabelMatchers>>}", series, "<<.GroupBy>>", "namespace, pod").Replace(r.MetricsQuery)
	if !strings.Contains(page(t, "kubernetes.md"), "\n"+query+"\n") {
		t.Errorf("the page has not the adapter's query\n%s", query)
	}
}
