package repository

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dougong-io/dougong/examples/models"
)

// withNet is loan-mini and, beside it, a model of the same inputs that workers serve.
func withNet(t testing.TB) fstest.MapFS {
	repo := mini(t)
	data := []byte("what a worker reads")
	sum := sha256.Sum256(data)
	repo["net/1/net.onnx"] = &fstest.MapFile{Data: data}
	repo["net/1/model.yaml"] = &fstest.MapFile{Data: []byte("file: net.onnx\nsha256: " + hex.EncodeToString(sum[:]) +
		"\ninput: x\noutput: y\noptions: {providers: cpu}\ninputs: [int_rate, revol_util]\ngolden:\n  tolerance: 1e-5\n  rows:\n    - {input: [0.1, 0.9], output: [0.5]}\n")}
	repo["net/policy.yaml"] = &fstest.MapFile{Data: []byte("serve: \"1\"\nfallback: {model: loan-mini}\ncore: false\n")}
	return repo
}

func TestModelOfWorkersIsVerifiedAndNotParsed(t *testing.T) {
	snapshot, err := load(t, withNet(t))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := snapshot.Find("net", "")
	m, _ := snapshot.Model("net")
	mini, _ := snapshot.Model("loan-mini")
	if v.Engine() != "onnx" || v.Manifest.Format() != "onnx" || v.Features() != 2 || v.Outputs() != 1 || v.Manifest.Options["providers"] != "cpu" {
		t.Errorf("%+v", v.Manifest)
	}
	if m.Core || m.Fallback != mini.Serving || !mini.Core || mini.Fallback != nil {
		t.Errorf("core %v, fallback %v; the other core %v", m.Core, m.Fallback, mini.Core)
	}
	if err := v.Predict(make([]float64, 1), make([]float64, 2)); !errors.Is(err, ErrWorker) {
		t.Error(err)
	}
	if _, err := v.CheckGolden(); !errors.Is(err, ErrWorker) {
		t.Error(err)
	}
	if data := v.TakeBytes(); string(data) != "what a worker reads" || v.TakeBytes() != nil || mini.Serving.TakeBytes() != nil {
		t.Errorf("%q", data)
	}
	if less := snapshot.Without("net"); len(less.Models()) != 1 || len(snapshot.Models()) != 2 {
		t.Error("a model too many or too few")
	}
	demo, err := load(t, models.Repository)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := demo.Find("digits", ""); err != nil || v.Engine() != "onnx" || v.Features() != 64 || v.Outputs() != 10 || v.Manifest.Input != "image" {
		t.Errorf("digits: %v", err)
	}
}

func TestEngineMayBeStated(t *testing.T) {
	repo := withNet(t)
	repo["net/1/net.npz"] = repo["net/1/net.onnx"]
	repo["net/1/model.yaml"].Data = append([]byte("engine: numpy\n"), bytes.Replace(repo["net/1/model.yaml"].Data, []byte("net.onnx"), []byte("net.npz"), 1)...)
	snapshot, err := load(t, repo)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := snapshot.Find("net", ""); v.Engine() != "numpy" || v.Manifest.Format() != "npz" {
		t.Errorf("engine %q, format %q", v.Engine(), v.Manifest.Format())
	}
}

func TestWhatIsRefusedOfModelsOfWorkers(t *testing.T) {
	const manifest, policy = "net/1/model.yaml", "net/policy.yaml"
	edit := func(file, old, new string) func(fstest.MapFS) {
		return func(repo fstest.MapFS) {
			if !bytes.Contains(repo[file].Data, []byte(old)) {
				panic("nothing to edit: " + old)
			}
			repo[file].Data = bytes.Replace(repo[file].Data, []byte(old), []byte(new), 1)
		}
	}
	for name, c := range map[string]struct {
		damage func(fstest.MapFS)
		says   string
	}{
		"another file":             {func(r fstest.MapFS) { r["net/1/net.onnx"].Data[0] ^= 1 }, "differs from its stated SHA-256"},
		"a short golden row":       {edit(manifest, "[0.1, 0.9]", "[0.1]"), "golden row 0 has 1 inputs and 1 outputs, the model 2 and 1"},
		"golden rows of no output": {edit(manifest, "[0.5]", "[]"), "golden row 0 has no outputs"},
		"a tensor's name too long": {edit(manifest, "input: x", "input: "+strings.Repeat("x", 257)), "input: must be at most 256 bytes"},
		"an engine that is none":   {edit(manifest, "input: x", "input: x\nengine: ../sh"), "engine: must be a name"},
		"trees with tensors":       {edit("loan-mini/1/model.yaml", "file:", "input: x\nfile:"), "are for a model that workers serve"},

		"no such fallback":        {edit(policy, "loan-mini", "nope"), `model net: fallback cannot stand in: nope: unknown model "nope"`},
		"no such version of it":   {edit(policy, "loan-mini", `loan-mini, version: "9"`), `unknown version "9" of model loan-mini`},
		"itself":                  {edit(policy, "loan-mini", "net"), "it is the model itself"},
		"a version without model": {edit(policy, "model: loan-mini", `version: "1"`), "fallback: must be a model's name"},
		"other inputs":            {edit(manifest, "[int_rate, revol_util]", "[revol_util, int_rate]"), `its input 0 is "int_rate", that of version 1 is "revol_util"`},
		"other outputs":           {edit(manifest, "[0.5]", "[0.5, 0.5]"), "it has 1 outputs, version 1 has 2"},
		"one with a fallback": {func(r fstest.MapFS) {
			r["loan-mini/policy.yaml"].Data = []byte("serve: \"1\"\nfallback: {model: net}\n")
		}, "it has a fallback itself, net"},
		"one that workers serve": {func(r fstest.MapFS) {
			r["loan-mini/policy.yaml"].Data = []byte("serve: \"1\"\nfallback: {model: net}\n")
		}, "it is served by workers of engine onnx"},
		"one that is damaged": {edit("loan-mini/1/model.yaml", "sha256: 3404", "sha256: 3405"), "model loan-mini version 1"},
	} {
		repo := withNet(t)
		c.damage(repo)
		_, err := load(t, repo)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s:\n got %v\nwant …%s…", name, err, c.says)
		}
		if strings.HasPrefix(name, "one that is damaged") && strings.Contains(err.Error(), "stand in") {
			t.Errorf("%s: one fault is told as two: %v", name, err)
		}
	}
}
