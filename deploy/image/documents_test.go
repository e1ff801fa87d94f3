package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	provenancev1 "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intotov1 "github.com/in-toto/attestation/go/v1"
	spdxjson "github.com/spdx/tools-golang/json"
	"google.golang.org/protobuf/encoding/protojson"
)

const someSum = "h1:L4dI3LOEOcY5bdYV3BTHcKnN6yW2BZRrgrKQlyuEoHA="

// rich is a product whose binary tells of every kind of module.
func rich(t testing.TB) product {
	p := small(t)
	info := *p.binary.info
	info.Deps = []*debug.Module{
		{Path: "example.org/Upper/x_y", Version: "v1.2.3+incompatible", Sum: someSum},
		{Path: "example.org/Upper/x-y", Version: "v1.2.3", Sum: someSum},
		{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/fork", Version: "v1.0.1", Sum: someSum}},
		{Path: "github.com/dougong-io/dougong/kit", Version: "v0.1.0", Replace: &debug.Module{Path: "./kit", Version: "(devel)"}},
	}
	p.binary.info = &info
	return p
}

var someDigest = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}

func TestBillOfMaterialsIsSPDX(t *testing.T) {
	p := rich(t)
	data, err := p.sbom(someDigest)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSBOM(data, someDigest, p.binary); err != nil {
		t.Error(err)
	}
	// SPDX's own Go library reads it and finds the same.
	doc, err := spdxjson.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if doc.SPDXVersion != "SPDX-2.3" || len(doc.Packages) != 7 || len(doc.Relationships) != 7 {
		t.Errorf("%s, %d packages, %d relationships", doc.SPDXVersion, len(doc.Packages), len(doc.Relationships))
	}
	found := map[string]string{}
	for _, pkg := range doc.Packages {
		for _, ref := range pkg.PackageExternalReferences {
			found[pkg.PackageName] = ref.Locator + " " + pkg.PackageDownloadLocation
		}
	}
	main := p.binary.info.Main.Version
	for name, want := range map[string]string{
		"ghcr.io/dougong-io/dougong":        "pkg:oci/dougong@sha256%3A" + someDigest.Hex + "?repository_url=ghcr.io%2Fdougong-io%2Fdougong&tag=dev NOASSERTION",
		"github.com/dougong-io/dougong":     "pkg:golang/github.com/dougong-io/dougong@" + main + " git+https://github.com/dougong-io/dougong@" + p.binary.revision,
		"github.com/dougong-io/dougong/kit": "pkg:golang/github.com/dougong-io/dougong/kit@" + main + " git+https://github.com/dougong-io/dougong@" + p.binary.revision + "#kit",
		"example.org/Upper/x_y":             "pkg:golang/example.org/upper/x_y@v1.2.3%2Bincompatible https://proxy.golang.org/example.org/!upper/x_y/@v/v1.2.3+incompatible.zip",
		"example.org/fork":                  "pkg:golang/example.org/fork@v1.0.1 https://proxy.golang.org/example.org/fork/@v/v1.0.1.zip",
		"stdlib":                            "pkg:golang/stdlib@" + strings.TrimPrefix(p.binary.info.GoVersion, "go") + " https://go.dev/dl/" + p.binary.info.GoVersion + ".src.tar.gz",
	} {
		if found[name] != want {
			t.Errorf("%s is %s, want %s", name, found[name], want)
		}
	}
	if !strings.Contains(string(data), `"checksumValue": "2f8748dcb38439c6396dd615dc14c770a9cdeb25b605946b82b290972b84a070"`) {
		t.Error("no checksum of go.sum in hexadecimal")
	}
	if !strings.Contains(string(data), "Go's "+someSum) {
		t.Error("no checksum as go.sum has it")
	}
	// SPDX's validator, where it is installed (PyPI: spdx-tools).
	if validator, err := exec.LookPath("pyspdxtools"); err == nil {
		file := filepath.Join(t.TempDir(), "sbom.spdx.json")
		if err := replace(file, data); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), validator, "-i", file).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// TestProvenanceIsSLSA has in-toto's own Go library read it, which knows every field and what must be there.
func TestProvenanceIsSLSA(t *testing.T) {
	p := rich(t)
	data, err := p.provenance(someDigest)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkProvenance(data, p.ref(), someDigest, p.binary); err != nil {
		t.Error(err)
	}
	var s intotov1.Statement
	if err := protojson.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if s.GetPredicateType() != "https://slsa.dev/provenance/v1" {
		t.Errorf("predicate %s", s.GetPredicateType())
	}
	raw, err := protojson.Marshal(s.GetPredicate())
	if err != nil {
		t.Fatal(err)
	}
	var provenance provenancev1.Provenance
	if err := protojson.Unmarshal(raw, &provenance); err != nil {
		t.Fatal(err)
	}
	if err := provenance.Validate(); err != nil {
		t.Error(err)
	}
	if subject := s.GetSubject()[0]; subject.GetName() != "ghcr.io/dougong-io/dougong:dev" || subject.GetDigest()["sha256"] != someDigest.Hex {
		t.Errorf("subject %v", subject)
	}
	def := provenance.GetBuildDefinition()
	internal := def.GetInternalParameters().AsMap()
	if internal["go"] != p.binary.info.GoVersion {
		t.Errorf("built with %v", internal["go"])
	}
	if command, _ := internal["command"].([]any); !slices.Contains(command, any("-trimpath")) || !slices.Contains(command, any("-ldflags=-s -w -buildid=")) {
		t.Errorf("command %v", command)
	}
	deps := def.GetResolvedDependencies()
	if len(deps) != 5 || deps[0].GetDigest()["gitCommit"] != p.binary.revision || deps[2].GetDigest()["dirHash"] == "" {
		t.Errorf("%d dependencies: %v", len(deps), deps)
	}
}

func TestModuleWithoutChecksumIsRefused(t *testing.T) {
	for _, m := range []*debug.Module{
		{Path: "example.org/vendored", Version: "v1.0.0"},
		{Path: "example.org/x", Version: "v1.0.0", Sum: "h1:AAAA"},
		{Path: "example.org/x", Version: "v1.0.0", Replace: &debug.Module{Path: "/home/somebody/x"}},
		{Path: "example.org/x", Version: "v1.0.0", Replace: &debug.Module{Path: "../x"}},
	} {
		p := small(t)
		info := *p.binary.info
		info.Deps = []*debug.Module{m}
		p.binary.info = &info
		if _, err := p.sbom(someDigest); err == nil {
			t.Errorf("%+v is in a bill of materials", m)
		}
		if _, err := p.provenance(someDigest); err == nil {
			t.Errorf("%+v is in a provenance", m)
		}
	}
}

// TestDocumentsAreHeldAgainstTheirFormats breaks one thing after the other.
func TestDocumentsAreHeldAgainstTheirFormats(t *testing.T) {
	p := rich(t)
	sbom, err := p.sbom(someDigest)
	if err != nil {
		t.Fatal(err)
	}
	provenance, err := p.provenance(someDigest)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*spdxDocument){
		"its head":                  func(d *spdxDocument) { d.Version = "SPDX-2.2" },
		"creationInfo":              func(d *spdxDocument) { d.Creation.Created = "today" },
		"not allowed, or taken":     func(d *spdxDocument) { d.Packages[3].ID = d.Packages[4].ID },
		"lacks what SPDX asks for":  func(d *spdxDocument) { d.Packages[3].Download = "" },
		`checksum SHA256 "x"`:       func(d *spdxDocument) { d.Packages[3].Checksums[0].Value = "x" },
		"which is not there":        func(d *spdxDocument) { d.Relationships[3].Related = "SPDXRef-x" },
		"is related to nothing":     func(d *spdxDocument) { d.Relationships = d.Relationships[:3] },
		"is about another image":    func(d *spdxDocument) { d.Packages[0].Checksums = nil },
		"is about another binary":   func(d *spdxDocument) { d.Packages[1].Checksums = nil },
		"lacks the module example.": func(d *spdxDocument) { d.Packages = slices.Delete(d.Packages, 3, 4) },
	} {
		var doc spdxDocument
		if err := json.Unmarshal(sbom, &doc); err != nil {
			t.Fatal(err)
		}
		change(&doc)
		changed, _ := indented(doc)
		if err := checkSBOM(changed, someDigest, p.binary); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, change := range map[string]func(*statement){
		"types ":                    func(s *statement) { s.PredicateType = "https://slsa.dev/provenance/v0.2" },
		"subject ghcr.io":           func(s *statement) { s.Subject[0].Digest = nil },
		"subject /dougong":          func(s *statement) { s.Subject = s.Subject[:1] },
		"lacks buildType":           func(s *statement) { s.Predicate.Run.Builder.ID = "" },
		"is not among its dependen": func(s *statement) { s.Predicate.Definition.Dependencies[0].Digest = nil },
	} {
		var doc statement
		if err := json.Unmarshal(provenance, &doc); err != nil {
			t.Fatal(err)
		}
		change(&doc)
		changed, _ := indented(doc)
		if err := checkProvenance(changed, p.ref(), someDigest, p.binary); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, bad := range []string{"", "{", `{"x":1}`, "null null"} {
		if checkSBOM([]byte(bad), someDigest, p.binary) == nil || checkProvenance([]byte(bad), p.ref(), someDigest, p.binary) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
