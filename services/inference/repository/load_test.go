package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/internal/config"
	"github.com/dougong-io/dougong/services/inference/modelfile"
)

func decode(file string, data []byte, into any) error { return config.Decode(file, data, into) }

// mini is a repository with loan-mini alone, to be damaged.
func mini(t testing.TB) fstest.MapFS {
	t.Helper()
	repo := fstest.MapFS{}
	for _, file := range []string{"loan-mini/policy.yaml", "loan-mini/1/model.yaml", "loan-mini/1/model.json"} {
		data, err := fs.ReadFile(models.Repository, file)
		if err != nil {
			t.Fatal(err)
		}
		repo[file] = &fstest.MapFile{Data: data}
	}
	return repo
}

func load(t testing.TB, repo fs.FS) (*Snapshot, error) {
	return Load(t.Context(), repo, decode, DefaultLimits(), nil)
}

func TestDemoRepositoryLoads(t *testing.T) {
	snapshot, err := load(t, models.Repository)
	if err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]string{"loan-default": "1", "loan-lite": "1", "loan-mini": "1"} {
		v, err := snapshot.Find(model, "")
		if err != nil || v.Name != want || v.Model != model {
			t.Errorf("%s: %+v, %v", model, v, err)
		}
	}
	if v, err := snapshot.Find("loan-default", "2"); err != nil || v.Summary.Trees != 400 {
		t.Errorf("version 2: %v", err)
	}
	if _, err := snapshot.Find("nope", ""); !errors.Is(err, ErrUnknownModel) {
		t.Error(err)
	}
	if _, err := snapshot.Find("loan-mini", "2"); !errors.Is(err, ErrUnknownVersion) {
		t.Error(err)
	}
}

// TestOneBitInALeafRefusesTheLoad flips the lowest bit of the last digit of a leaf: the score moves far
// less than any golden row could tell.
func TestOneBitInALeafRefusesTheLoad(t *testing.T) {
	repo := mini(t)
	file := repo["loan-mini/1/model.json"]
	at := bytes.Index(file.Data, []byte("-1.9306111E-1")) // the first leaf of the first tree
	if at < 0 {
		t.Fatal("the leaf is not where it was")
	}
	file.Data[at+len("-1.930611")] ^= 1
	if _, err := modelfile.Parse("x", file.Data); err != nil {
		t.Fatalf("the damaged file must still parse: %v", err)
	}
	_, err := load(t, repo)
	if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "loan-mini/1/model.json") {
		t.Errorf("got %v", err)
	}
}

// TestAnotherModelFailsItsGoldenRows: the digest is right, the model is not the one of the golden rows.
func TestAnotherModelFailsItsGoldenRows(t *testing.T) {
	repo := mini(t)
	file := repo["loan-mini/1/model.json"]
	file.Data = bytes.Replace(file.Data, []byte("-1.9306111E-1"), []byte("-1.8306111E-1"), 1)
	restate(repo)
	if _, err := load(t, repo); !errors.Is(err, ErrGolden) {
		t.Errorf("got %v", err)
	}
}

// restate makes model.yaml state the digest that the file has.
func restate(repo fstest.MapFS) {
	sum := sha256.Sum256(repo["loan-mini/1/model.json"].Data)
	manifest := repo["loan-mini/1/model.yaml"]
	lines := strings.Split(string(manifest.Data), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "sha256:") {
			lines[i] = "sha256: " + hex.EncodeToString(sum[:])
		}
	}
	manifest.Data = []byte(strings.Join(lines, "\n"))
}

func TestWhatIsRefused(t *testing.T) {
	edit := func(file, old, new string) func(fstest.MapFS) {
		return func(repo fstest.MapFS) {
			if !bytes.Contains(repo[file].Data, []byte(old)) {
				panic("nothing to edit: " + old)
			}
			repo[file].Data = bytes.Replace(repo[file].Data, []byte(old), []byte(new), 1)
		}
	}
	const manifest, policy = "loan-mini/1/model.yaml", "loan-mini/policy.yaml"
	for name, c := range map[string]struct {
		damage func(fstest.MapFS)
		says   string
	}{
		"empty repository":        {func(r fstest.MapFS) { clear(r) }, "holds no model"},
		"no policy":               {func(r fstest.MapFS) { delete(r, policy) }, "holds no model"},
		"no manifest":             {func(r fstest.MapFS) { delete(r, manifest) }, "loan-mini version 1: open"},
		"no model file":           {func(r fstest.MapFS) { delete(r, "loan-mini/1/model.json") }, "loan-mini version 1: open"},
		"a version that is gone":  {edit(policy, `"1"`, `"7"`), "model loan-mini version 7: open"},
		"policy names a path":     {edit(policy, `"1"`, `"../1"`), "serve: must be the name of a version's folder"},
		"policy has unknown keys": {edit(policy, "\nserve:", "\nsreve:"), "unknown key"},
		"manifest names a path":   {edit(manifest, "file: model.json", "file: ../1/model.json"), "file: must be the name of a file beside"},
		"manifest misspelt":       {edit(manifest, "objective:", "objectiv:"), `did you mean "objective"`},
		"another objective":       {edit(manifest, "binary:logistic", "reg:squarederror"), `objective "reg:squarederror" is stated, the file has "binary:logistic"`},
		"inputs in another order": {edit(manifest, "- int_rate\n  - revol_util", "- revol_util\n  - int_rate"), `input 0 is stated as "revol_util", the file has "int_rate"`},
		"an input more":           {edit(manifest, "- int_rate\n", "- int_rate\n  - x\n"), "3 inputs are stated, the file has 2"},
		"an input twice":          {edit(manifest, "- revol_util\n", "- int_rate\n"), "appears twice"},
		"a short golden row":      {edit(manifest, "[0.1, 0.9]", "[0.1]"), "has 1 inputs and 1 outputs, the model 2 and 1"},
		"no golden rows":          {func(r fstest.MapFS) { m := r[manifest]; m.Data = m.Data[:bytes.Index(m.Data, []byte("  rows:"))] }, "rows: at least one"},
		"a tolerance that waves":  {edit(manifest, "1e-6", "0.5"), "tolerance: must be above 0 and at most 0.001"},
		"no digest":               {edit(manifest, "sha256: 3404", "sha256: "), "sha256: must be 64 hexadecimal digits"},
		"a cut model file": {func(r fstest.MapFS) {
			f := r["loan-mini/1/model.json"]
			f.Data = f.Data[:len(f.Data)/2]
			restate(r)
		}, "loan-mini/1/model.json"},
		"a folder as model file": {func(r fstest.MapFS) {
			delete(r, "loan-mini/1/model.json")
			r["loan-mini/1/model.json/x"] = &fstest.MapFile{}
		}, "is not a regular file"},
		"a model's name with a space": {func(r fstest.MapFS) {
			for file, f := range maps.Clone(r) {
				delete(r, file)
				r[strings.Replace(file, "loan-mini", "loan mini", 1)] = f
			}
		}, `model folder "loan mini"`},
	} {
		repo := mini(t)
		c.damage(repo)
		snapshot, err := load(t, repo)
		if err == nil || !strings.Contains(err.Error(), c.says) || snapshot != nil {
			t.Errorf("%s:\n got %v\nwant …%s…", name, err, c.says)
		}
	}
}

// TestEveryFaultyModelIsNamed: one start tells all there is to mend.
func TestEveryFaultyModelIsNamed(t *testing.T) {
	repo := mini(t)
	for _, name := range []string{"a", "b"} {
		repo[name+"/policy.yaml"] = &fstest.MapFile{Data: []byte(`serve: "1"`)}
	}
	_, err := load(t, repo)
	if err == nil || !strings.Contains(err.Error(), "model a version 1") || !strings.Contains(err.Error(), "model b version 1") {
		t.Errorf("got %v", err)
	}
}

// TestACopyIsNotARelease: a folder that no policy names is not even read.
func TestACopyIsNotARelease(t *testing.T) {
	repo := mini(t)
	repo["loan-mini/99/model.yaml"] = &fstest.MapFile{Data: []byte("garbage: [")}
	snapshot, err := load(t, repo)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := snapshot.Find("loan-mini", ""); err != nil || v.Name != "1" {
		t.Errorf("serving %+v, %v", v, err)
	}
	if _, err := snapshot.Find("loan-mini", "99"); !errors.Is(err, ErrUnknownVersion) {
		t.Errorf("version 99: %v", err)
	}
}

// TestLinksAndStrangers: a mounted repository has links to folders, and a disk has folders of its own.
func TestLinksAndStrangers(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "..data"), models.Repository); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"loan-mini": "..data/loan-mini", "loan-lite": "..data/loan-lite"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	snapshot, err := load(t, root.FS())
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Models()) != 2 || fmt.Sprint(snapshot.Skipped) != "[lost+found]" {
		t.Errorf("%d models, skipped %v", len(snapshot.Models()), snapshot.Skipped)
	}
	// A link that leads out of the repository is refused, not skipped.
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, root.FS()); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("a link that leads out: %v", err)
	}
}

func TestLimits(t *testing.T) {
	limits := DefaultLimits()
	limits.ModelBytes = 1000
	if _, err := Load(t.Context(), mini(t), decode, limits, nil); err == nil || !strings.Contains(err.Error(), "at most 1000 are read") {
		t.Errorf("model: %v", err)
	}
	limits = DefaultLimits()
	limits.ManifestBytes = 200
	if _, err := Load(t.Context(), mini(t), decode, limits, nil); err == nil || !strings.Contains(err.Error(), "at most 200 are read") {
		t.Errorf("manifest: %v", err)
	}
	if err := (Limits{}).Validate(); err == nil || !strings.Contains(err.Error(), "model_bytes") || !strings.Contains(err.Error(), "manifest_bytes") {
		t.Errorf("zero limits: %v", err)
	}
}

func TestSummary(t *testing.T) {
	snapshot, err := load(t, models.Repository)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := snapshot.Find("loan-default", "1")
	s := v.Summary
	if s.Trees != 300 || s.Leaves != 7904 || s.Splits != 7604 || s.MaxDepth != 6 || s.MaxLeaves != 48 || s.Outputs != 1 || len(s.Features) != 72 {
		t.Errorf("%d trees, %d leaves, %d splits, depth %d, %d in a tree", s.Trees, s.Leaves, s.Splits, s.MaxDepth, s.MaxLeaves)
	}
	total, splits := 0.0, 0
	for i, f := range s.Importances {
		total, splits = total+f.Gain, splits+f.Splits
		if i > 0 && f.Gain > s.Importances[i-1].Gain {
			t.Errorf("%s is not in order", f.Feature)
		}
	}
	if fmt.Sprintf("%.9f", total) != "1.000000000" || splits != s.Splits {
		t.Errorf("gains add up to %v, splits to %d", total, splits)
	}
}

func Example() {
	snapshot, err := Load(context.Background(), models.Repository, decode, DefaultLimits(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	version, _ := snapshot.Find("loan-mini", "")
	answer := make([]float64, version.Outputs())
	err = version.Predict(answer, []float64{0.1, 0.9})
	fmt.Printf("%s version %s: %.6f %v\n", version.Model, version.Name, answer[0], err)
	// Output: loan-mini version 1: 0.036456 <nil>
}
