package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/services/inference/modelfile"
	"github.com/dougong-io/dougong/services/inference/tree"
)

// Decode reads YAML strictly into a struct and validates it; internal/config has it.
type Decode func(file string, data []byte, into any) error

// Limits bound what is read.
type Limits struct {
	ModelBytes    int64 `json:"model_bytes" unit:"bytes" doc:"Largest model file that is loaded."`
	ManifestBytes int64 `json:"manifest_bytes" unit:"bytes" doc:"Largest model.yaml or policy.yaml that is read."`
}

// DefaultLimits are generous for tree models.
func DefaultLimits() Limits { return Limits{ModelBytes: 1 << 30, ManifestBytes: 16 << 20} }

// Validate reports every fault at once.
func (l Limits) Validate() error {
	var faults []error
	if l.ModelBytes < 1 {
		faults = append(faults, fmt.Errorf("model_bytes: must be positive, is %d", l.ModelBytes))
	}
	if l.ManifestBytes < 1 {
		faults = append(faults, fmt.Errorf("manifest_bytes: must be positive, is %d", l.ManifestBytes))
	}
	return errors.Join(faults...)
}

// Errors of loading, wrapped with the version's folder and what was expected.
var (
	// ErrDigest says that a model file is not the one whose SHA-256 model.yaml states.
	ErrDigest = errors.New("model file differs from its stated SHA-256")
	// ErrGolden says that a model does not reproduce the answers of the library that trained it.
	ErrGolden = errors.New("model does not reproduce its golden rows")
	// ErrMismatch says that model.yaml and the model file contradict each other.
	ErrMismatch = errors.New("model.yaml and the model file disagree")
	// ErrFallback says that a model's fallback cannot stand in for it.
	ErrFallback = errors.New("fallback cannot stand in")
	// ErrWorker says that only a worker of the version's engine can score rows.
	ErrWorker = errors.New("is served by worker processes")
)

// Load reads every model of the repository: each folder, or link to one inside the repository, that holds
// a policy.yaml. It reports the faults of all models at once and returns no snapshot if there is any:
// half a repository is not served.
// The rules of a fault set, which may be nil, strike what is read, and how the models do on their golden rows.
func Load(ctx context.Context, repo fs.FS, decode Decode, limits Limits, rules *fault.Set) (*Snapshot, error) {
	l := loader{repo, decode, limits, newPoints(rules)}
	entries, err := l.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("model repository: %w", err)
	}
	snapshot := &Snapshot{models: make(map[string]*Model)}
	refused := make(map[string]bool)
	var faults []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		switch released, err := isModel(repo, entry.Name()); {
		case err != nil:
			faults = append(faults, fmt.Errorf("model repository: %w", err))
			continue
		case !released:
			if entry.IsDir() { // a file beside the models is nobody's mistake
				snapshot.Skipped = append(snapshot.Skipped, entry.Name())
			}
			continue
		}
		model, err := l.model(ctx, entry.Name())
		if err != nil {
			faults, refused[entry.Name()] = append(faults, err), true
			continue
		}
		snapshot.models[model.Name] = model
		snapshot.names = append(snapshot.names, model.Name)
	}
	slices.Sort(snapshot.names)
	faults = append(faults, snapshot.findFallbacks(refused)...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if len(snapshot.names) == 0 {
		return nil, errors.New("model repository: holds no model; expected <model>/policy.yaml and <model>/<version>/model.yaml below it (is it a model's own folder? then name its parent)")
	}
	return snapshot, nil
}

// isModel tells whether an entry is a folder, or a link to one, with a policy.yaml in it.
func isModel(repo fs.FS, name string) (bool, error) {
	info, err := fs.Stat(repo, name)
	if err != nil || !info.IsDir() {
		return false, err
	}
	_, err = fs.Stat(repo, path.Join(name, "policy.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// loader reads one repository.
type loader struct {
	repo   fs.FS
	decode Decode
	limits Limits
	points points
}

func (l *loader) list(ctx context.Context) ([]fs.DirEntry, error) {
	if l.points.list.On() {
		if err := l.points.list.Hit(ctx); err != nil {
			return nil, err
		}
	}
	return fs.ReadDir(l.repo, ".")
}

func (l *loader) model(ctx context.Context, name string) (*Model, error) {
	if !validName(name) {
		return nil, fmt.Errorf("model folder %q: a name has letters, digits, '.', '_' and '-', at most 128", name)
	}
	file := path.Join(name, "policy.yaml")
	data, err := l.read(ctx, file, l.limits.ManifestBytes)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	policy := DefaultPolicy()
	if err := l.decode(file, data, &policy); err != nil {
		return nil, err
	}
	model := &Model{Name: name, Core: policy.Core, fallback: policy.Fallback, versions: make(map[string]*Version)}
	var faults []error
	for _, v := range append([]string{policy.Serve}, policy.Also...) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		version, err := l.named(ctx, name, v)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%s names version %s)", err, file, v)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		model.versions[v] = version
		model.Versions = append(model.Versions, version)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	model.Serving = model.versions[policy.Serve]
	return model, nil
}

// LoadVersion reads the version in <model>/<version>, whether or not a policy names it.
func LoadVersion(repo fs.FS, model, version string, decode Decode, limits Limits) (*Version, error) {
	l := loader{repo, decode, limits, points{}}
	return l.named(context.Background(), model, version)
}

func (l *loader) named(ctx context.Context, model, version string) (*Version, error) {
	v, err := l.version(ctx, model, version)
	if err != nil {
		return nil, fmt.Errorf("model %s version %s: %w", model, version, err)
	}
	return v, nil
}

// version goes in the order that lets nothing unverified be used: read, verify those bytes, build,
// check the golden rows.
func (l *loader) version(ctx context.Context, model, version string) (*Version, error) {
	dir := path.Join(model, version)
	file := path.Join(dir, "model.yaml")
	data, err := l.read(ctx, file, l.limits.ManifestBytes)
	if err != nil {
		return nil, err
	}
	manifest := Manifest{Golden: Golden{Tolerance: 1e-6}}
	if err := l.decode(file, data, &manifest); err != nil {
		return nil, err
	}
	file = path.Join(dir, manifest.File)
	data, err = l.read(ctx, file, l.limits.ModelBytes)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != strings.ToLower(manifest.SHA256) {
		return nil, fmt.Errorf("%s: %w: it has %x, model.yaml states %s; restore the file or release it as a new version", file, ErrDigest, sum, manifest.SHA256)
	}
	if manifest.EngineName() != "" {
		return forWorkers(model, version, file, manifest, data)
	}
	ensemble, err := modelfile.Parse(file, data)
	if err != nil {
		return nil, err
	}
	if err := agree(manifest, ensemble); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	scorer, err := tree.Compile(ensemble)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	v := &Version{Model: model, Name: version, Manifest: manifest, Summary: Summarize(ensemble), scorer: scorer, columns: columnsOf(manifest)}
	if err := l.check(ctx, v); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return v, nil
}

// check has a version prove itself.
func (l *loader) check(ctx context.Context, v *Version) error {
	if l.points.golden.On() {
		if err := l.points.golden.Hit(ctx, fault.Attr{Key: "model", Value: v.Model}, fault.Attr{Key: "version", Value: v.Name}); err != nil {
			return err
		}
	}
	_, err := v.CheckGolden()
	return err
}

// agree holds what model.yaml says against what the file says.
func agree(m Manifest, e *tree.Ensemble) error {
	if m.Objective != e.Objective {
		return fmt.Errorf("%w: objective %q is stated, the file has %q", ErrMismatch, m.Objective, e.Objective)
	}
	if len(m.Inputs) != len(e.Features) {
		return fmt.Errorf("%w: %d inputs are stated, the file has %d features", ErrMismatch, len(m.Inputs), len(e.Features))
	}
	if e.Named {
		for i, name := range m.Inputs {
			if e.Features[i] != name {
				return fmt.Errorf("%w: input %d is stated as %q, the file has %q", ErrMismatch, i, name, e.Features[i])
			}
		}
	}
	return agreeGolden(m, e.Outputs)
}

func agreeGolden(m Manifest, outputs int) error {
	for i, row := range m.Golden.Rows {
		if len(row.Input) != len(m.Inputs) || len(row.Output) != outputs {
			return fmt.Errorf("%w: golden row %d has %d inputs and %d outputs, the model %d and %d",
				ErrMismatch, i, len(row.Input), len(row.Output), len(m.Inputs), outputs)
		}
	}
	return nil
}

func columnsOf(m Manifest) map[string]int {
	columns := make(map[string]int, len(m.Inputs))
	for i, name := range m.Inputs {
		columns[name] = i
	}
	return columns
}

// CheckGolden scores the golden rows and returns the largest difference from what is expected, as a
// multiple of the larger of 1 and the expected value. Beyond the tolerance it is an ErrGolden.
func (v *Version) CheckGolden() (worst float64, err error) {
	if v.Engine() != "" {
		return 0, v.needsWorker()
	}
	got := make([]float64, v.Outputs())
	for i, row := range v.Manifest.Golden.Rows {
		if err := v.Predict(got, row.Input); err != nil {
			return worst, fmt.Errorf("golden row %d: %w", i, err)
		}
		off, err := v.Manifest.Golden.Compare(i, got)
		worst = max(worst, off)
		if err != nil {
			return worst, err
		}
	}
	return worst, nil
}

// Compare holds what a model answers to a golden row against what is expected, as CheckGolden does.
func (g Golden) Compare(row int, got []float64) (worst float64, err error) {
	for k, want := range g.Rows[row].Output {
		off := math.Abs(got[k]-want) / max(1, math.Abs(want))
		worst = max(worst, off)
		if !(off <= g.Tolerance) { // NaN fails too
			return worst, fmt.Errorf("%w: row %d, output %d is %v, expected %v", ErrGolden, row, k, got[k], want)
		}
	}
	return worst, nil
}

// read reads a file of at most limit bytes.
func (l *loader) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	f, err := l.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a regular file", name)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: has %d bytes, at most %d are read; raise the limit if this is intended", name, info.Size(), limit)
	}
	var damage fault.Damage
	if l.points.read.On() {
		if damage, err = l.points.read.Damage(ctx, fault.Attr{Key: "file", Value: name}); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if damage.Drop {
			return nil, nil
		}
	}
	var buf bytes.Buffer
	buf.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(buf.Len()) > limit {
		return nil, fmt.Errorf("%s: grew beyond %d bytes while it was read", name, limit)
	}
	return damage.Apply(buf.Bytes(), 0), nil
}

func (l *loader) open(ctx context.Context, name string) (fs.File, error) {
	if l.points.open.On() {
		if err := l.points.open.Hit(ctx, fault.Attr{Key: "file", Value: name}); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return l.repo.Open(name)
}
