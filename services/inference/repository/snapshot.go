package repository

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// Errors of Find.
var (
	ErrUnknownModel   = errors.New("unknown model")
	ErrUnknownVersion = errors.New("unknown version")
)

// Snapshot is a repository as it was when it was loaded. It is immutable.
type Snapshot struct {
	Skipped []string // entries of the repository that are no model: they have no policy.yaml

	models map[string]*Model
	names  []string
}

// Model is a model with the versions that its policy names.
type Model struct {
	Name     string
	Serving  *Version   // answers a request that names no version
	Versions []*Version // Serving first, then in the policy's order
	Fallback *Version   // answers while the model cannot; nil: nothing does
	Core     bool       // the service is not ready without it

	fallback Fallback
	versions map[string]*Version
}

// Version is one version of a model, verified and ready to score, here or by workers. It is immutable, but for the bytes
// that its workers take.
type Version struct {
	Model, Name string
	Manifest    Manifest
	Summary     Summary
	scorer      *tree.Model            // nil: workers score
	bytes       atomic.Pointer[[]byte] // of the model file, for them
	columns     map[string]int
}

// Models returns the models in the order of their names.
func (s *Snapshot) Models() []*Model {
	models := make([]*Model, len(s.names))
	for i, name := range s.names {
		models[i] = s.models[name]
	}
	return models
}

// Names returns the names of the models, in order.
func (s *Snapshot) Names() []string { return s.names }

// Without is the repository without some models, which are nobody's fallback.
func (s *Snapshot) Without(names ...string) *Snapshot {
	less := &Snapshot{Skipped: s.Skipped, models: maps.Clone(s.models)}
	for _, name := range s.names {
		if slices.Contains(names, name) {
			delete(less.models, name)
			continue
		}
		less.names = append(less.names, name)
	}
	return less
}

// Model returns the model of that name, or an ErrUnknownModel that names those there are.
func (s *Snapshot) Model(name string) (*Model, error) {
	if model, ok := s.models[name]; ok {
		return model, nil
	}
	return nil, fmt.Errorf("%w %.64q: there are %s", ErrUnknownModel, name, strings.Join(s.names, ", "))
}

// Find returns a version of a model: the serving one if version is empty. It allocates only to fail.
func (s *Snapshot) Find(model, version string) (*Version, error) {
	m, err := s.Model(model)
	if err != nil {
		return nil, err
	}
	if version == "" {
		return m.Serving, nil
	}
	if v, ok := m.versions[version]; ok {
		return v, nil
	}
	names := make([]string, len(m.Versions))
	for i, v := range m.Versions {
		names[i] = v.Name
	}
	has := "version "
	if len(names) > 1 {
		has = "versions "
	}
	return nil, fmt.Errorf("%w %.64q of model %s, which has %s", ErrUnknownVersion, version, model, has+strings.Join(names, ", "))
}

// Features is the length of a row.
func (v *Version) Features() int { return len(v.Manifest.Inputs) }

// Outputs is the number of values that a row is answered with.
func (v *Version) Outputs() int { return v.Summary.Outputs }

// Column returns a feature's place in a row.
func (v *Version) Column(feature string) (int, bool) {
	i, ok := v.columns[feature]
	return i, ok
}

// Predict scores rows, one behind another and each Features long, into answers, each Outputs long. NaN
// is a missing value. It is safe for concurrent use and allocates nothing. Where workers do that it is an ErrWorker.
func (v *Version) Predict(answers, rows []float64) error {
	if v.scorer == nil {
		return v.needsWorker()
	}
	return v.scorer.Predict(answers, rows)
}
