package repository

import (
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// forWorkers is a version that worker processes serve. What its file holds is for the engine to tell: the golden rows say
// how many outputs there are, and a worker has to reproduce them before it serves.
func forWorkers(model, version, file string, manifest Manifest, data []byte) (*Version, error) {
	if len(manifest.Golden.Rows[0].Output) == 0 { // there is at least one row
		return nil, fmt.Errorf("%s: %w: golden row 0 has no outputs", file, ErrMismatch)
	}
	outputs := len(manifest.Golden.Rows[0].Output)
	if err := agreeGolden(manifest, outputs); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	v := &Version{Model: model, Name: version, Manifest: manifest, columns: columnsOf(manifest)}
	v.Summary = Summary{Format: manifest.Format(), Precision: tree.Float32, Outputs: outputs, Features: manifest.Inputs}
	v.bytes.Store(&data)
	return v, nil
}

// Engine is the one whose workers serve the version, empty for trees.
func (v *Version) Engine() string { return v.Manifest.EngineName() }

// TakeBytes hands out the verified bytes of a version that workers serve, once: who starts the workers keeps them. It is
// nil from then on, and for trees.
func (v *Version) TakeBytes() []byte {
	if data := v.bytes.Swap(nil); data != nil {
		return *data
	}
	return nil
}

func (v *Version) needsWorker() error {
	return fmt.Errorf("model %s version %s %w of engine %s", v.Model, v.Name, ErrWorker, v.Engine())
}

// findFallbacks looks up what stands in for what, and says of each that it cannot. A fallback that was refused itself has
// been told of.
func (s *Snapshot) findFallbacks(refused map[string]bool) (faults []error) {
	for _, m := range s.Models() {
		if m.fallback.Model == "" || refused[m.fallback.Model] {
			continue
		}
		by, err := s.Find(m.fallback.Model, m.fallback.Version)
		if err == nil {
			err = errors.Join(s.standsIn(m, by)...)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("model %s: %w: %s: %w", m.Name, ErrFallback, m.fallback, err))
			continue
		}
		m.Fallback = by
	}
	return faults
}

// standsIn says why a version cannot answer for a model.
func (s *Snapshot) standsIn(m *Model, by *Version) (faults []error) {
	if by.Model == m.Name {
		return []error{errors.New("it is the model itself")}
	}
	if by.Engine() != "" {
		faults = append(faults, fmt.Errorf("it is served by workers of engine %s, which can fail as well; name a model of trees", by.Engine()))
	}
	if further := s.models[by.Model].fallback; further.Model != "" {
		faults = append(faults, fmt.Errorf("it has a fallback itself, %s", further))
	}
	for _, v := range m.Versions {
		if err := sameInputs(v, by); err != nil {
			faults = append(faults, err)
		}
		if v.Outputs() != by.Outputs() {
			faults = append(faults, fmt.Errorf("it has %d outputs, version %s has %d", by.Outputs(), v.Name, v.Outputs()))
		}
	}
	return faults
}

func sameInputs(v, by *Version) error {
	have, want := by.Manifest.Inputs, v.Manifest.Inputs
	if len(have) != len(want) {
		return fmt.Errorf("it has %d inputs, version %s has %d", len(have), v.Name, len(want))
	}
	for i, name := range want {
		if have[i] != name {
			return fmt.Errorf("its input %d is %q, that of version %s is %q", i, have[i], v.Name, name)
		}
	}
	return nil
}
