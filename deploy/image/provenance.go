package main

import (
	"runtime/debug"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The parts of an in-toto statement (v1) with a SLSA provenance (v1) that are written here.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     predicate  `json:"predicate"`
}

type resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

type predicate struct {
	Definition buildDefinition `json:"buildDefinition"`
	Run        runDetails      `json:"runDetails"`
}

type buildDefinition struct {
	BuildType    string         `json:"buildType"`
	External     map[string]any `json:"externalParameters"`
	Internal     map[string]any `json:"internalParameters"`
	Dependencies []resource     `json:"resolvedDependencies"`
}

type runDetails struct {
	Builder struct {
		ID string `json:"id"`
	} `json:"builder"`
}

const (
	statementType  = "https://in-toto.io/Statement/v1"
	provenanceType = "https://slsa.dev/provenance/v1"
	buildType      = repository + "/blob/main/docs/image.md#provenance"
)

// provenance says what the image was made of and how. When and where is left out, so that the same image has the
// same provenance. It is not signed: whoever publishes an image signs the file.
func (p product) provenance(digest v1.Hash) ([]byte, error) {
	info := p.binary.info
	commit := resource{URI: p.gitLocation(""), Digest: map[string]string{"gitCommit": p.binary.revision}}
	if p.binary.modified {
		commit.Annotations = map[string]any{"modified": true}
	}
	settings := map[string]any{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	internal := map[string]any{"go": info.GoVersion, "settings": settings, "created": p.created.Unix()}
	if p.command.args != nil {
		internal["environment"], internal["command"] = p.command.env, append([]string{"go"}, p.command.args...)
	}
	doc := statement{
		Type: statementType,
		Subject: []resource{
			{Name: p.ref(), Digest: map[string]string{"sha256": digest.Hex}},
			{Name: "/" + binaryFile, Digest: map[string]string{"sha256": p.binary.sha256}},
		},
		PredicateType: provenanceType,
		Predicate: predicate{Definition: buildDefinition{
			BuildType: buildType,
			External: map[string]any{
				"source": p.gitLocation(""), "package": info.Path, "platform": p.binary.platform(), "name": p.name, "version": p.version,
				"certificates": p.certificates != nil,
			},
			Internal:     internal,
			Dependencies: []resource{commit, {Name: info.GoVersion, URI: "https://go.dev/dl/" + info.GoVersion + ".src.tar.gz"}},
		}},
	}
	doc.Predicate.Run.Builder.ID = p.builder
	for _, m := range info.Deps {
		dep, err := dependency(m)
		if err != nil {
			return nil, err
		}
		if dep != nil {
			doc.Predicate.Definition.Dependencies = append(doc.Predicate.Definition.Dependencies, *dep)
		}
	}
	return indented(doc)
}

// dependency is a module from outside; those of the repository are in the commit.
func dependency(m *debug.Module) (*resource, error) {
	used := m
	if m.Replace != nil {
		used = m.Replace
	}
	if strings.HasPrefix(used.Path, "./") {
		return nil, nil
	}
	sum, err := dirHash(*used)
	if err != nil {
		return nil, err
	}
	return &resource{URI: golangURL(used.Path, used.Version), Digest: map[string]string{"dirHash": sum}}, nil
}
