package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDecodeRefusesWhatKubernetesWouldIgnore(t *testing.T) {
	const good = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":      {good + "automountToken: false\n", `unknown field "automountToken"`},
		"a field in between": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: b, readnessProbe: {}}]}\n", `unknown field "spec.containers[0].readnessProbe"`},
		"twice":              {good + "automountServiceAccountToken: false\nautomountServiceAccountToken: true\n", "already set"},
		"unknown kind":       {"apiVersion: v1\nkind: Podd\n", `no kind "Podd"`},
		"wrong type":         {"apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: many}\n", "replicas"},
		"the second":         {good + "---\napiVersion: v1\nkind: Podd\n", "document 2"},
	} {
		if _, err := Decode([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	objects, err := Decode([]byte(good + "---\n" + good))
	if err != nil || len(objects) != 2 {
		t.Errorf("%d objects, %v", len(objects), err)
	}
}

func TestBuildNamesTheFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: [nothing.yaml]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v does not name %s", err, dir)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "---\n---\n", "apiVersion: v1\nkind: Pod\n", "kind: [\n", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"a\":\"!\"}}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := Decode(text)
		for _, object := range objects {
			if object == nil {
				t.Errorf("no object, and %v", err)
			}
		}
	})
}
