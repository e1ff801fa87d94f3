package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dougong-io/dougong/services/inference/modelfile"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/tree"
)

// ModelReport is what InspectModel says of one model file.
type ModelReport struct {
	Title       string                  `json:"title"`
	Description string                  `json:"description,omitempty"`
	Format      string                  `json:"format"`
	Library     string                  `json:"library,omitempty"`
	Engine      string                  `json:"engine,omitempty"` // whose workers serve it
	Objective   string                  `json:"objective,omitempty"`
	Precision   string                  `json:"precision"`
	Outputs     int                     `json:"outputs"`
	Trees       int                     `json:"trees"`
	MaxDepth    int                     `json:"max_depth"`
	Leaves      int                     `json:"leaves"`
	MaxLeaves   int                     `json:"max_leaves"`
	Features    int                     `json:"features"`
	Splits      int                     `json:"splits"`
	File        string                  `json:"file"`
	Bytes       int64                   `json:"bytes"`
	SHA256      string                  `json:"sha256"`
	Golden      string                  `json:"golden"`
	Importances []repository.Importance `json:"importances"`
}

// InspectModel reports on a model file, a version's folder, a model's folder (all versions in it, served
// or not) or a repository. With an error, the reports are those of the versions that are good.
func InspectModel(ctx context.Context, path string) ([]ModelReport, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		report, err := inspectFile(path)
		if err != nil {
			return nil, err
		}
		return []ModelReport{report}, nil
	}
	versions, err := versionFolders(path)
	if err != nil {
		return nil, err
	}
	var reports []ModelReport
	var faults []error
	for _, dir := range versions {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		report, err := inspectVersion(dir)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		reports = append(reports, report)
	}
	for _, policy := range policiesOf(versions) {
		faults = append(faults, checkPolicy(policy))
	}
	return reports, errors.Join(faults...)
}

// policiesOf finds the policy.yaml beside the folders of versions, once each.
func policiesOf(versions []string) []string {
	var policies []string
	for _, dir := range versions {
		file := filepath.Join(filepath.Dir(dir), "policy.yaml")
		if _, err := os.Stat(file); err == nil && !slices.Contains(policies, file) {
			policies = append(policies, file)
		}
	}
	return policies
}

// checkPolicy tells whether a policy can be read and names versions that are there.
func checkPolicy(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	policy := repository.DefaultPolicy()
	if err := decodeYAML(file, data, &policy); err != nil {
		return err
	}
	for _, version := range append([]string{policy.Serve}, policy.Also...) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), version, "model.yaml")); err != nil {
			return fmt.Errorf("%s: names version %s: %w", file, version, err)
		}
	}
	if by := policy.Fallback.Model; by != "" {
		if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(file)), by, "policy.yaml")); err != nil {
			return fmt.Errorf("%s: names the fallback %s: %w", file, policy.Fallback, err)
		}
	}
	return nil
}

// versionFolders finds the folders with a model.yaml at path or up to two levels below it.
func versionFolders(path string) ([]string, error) {
	for _, pattern := range []string{"model.yaml", "*/model.yaml", "*/*/model.yaml"} {
		found, err := fs.Glob(os.DirFS(path), pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		for i, file := range found {
			found[i] = filepath.Dir(filepath.Join(path, file))
		}
		return found, nil
	}
	return nil, fmt.Errorf("%s: holds no model.yaml, nor does a folder in it; name a model file, or a folder that holds <version>/model.yaml", path)
}

func inspectVersion(dir string) (ModelReport, error) {
	version, model := filepath.Base(dir), filepath.Base(filepath.Dir(dir))
	repo := os.DirFS(filepath.Dir(filepath.Dir(dir)))
	v, err := repository.LoadVersion(repo, model, version, decodeYAML, repository.DefaultLimits())
	if err != nil {
		return ModelReport{}, err
	}
	r := report(v.Summary)
	rows := len(v.Manifest.Golden.Rows)
	switch worst, err := v.CheckGolden(); {
	case errors.Is(err, repository.ErrWorker):
		r.Engine = v.Engine()
		r.Golden = fmt.Sprintf("%d, not checked here: a worker of engine %s has to answer them before it serves", rows, r.Engine)
	case err != nil:
		return ModelReport{}, err
	default:
		r.Golden = fmt.Sprintf("%d of %d hold; largest difference %.2g, tolerance %g", rows, rows, worst, v.Manifest.Golden.Tolerance)
	}
	r.Title = fmt.Sprintf("%s, version %s", model, version)
	r.Description = v.Manifest.Description
	r.File = filepath.Join(dir, v.Manifest.File)
	r.SHA256 = v.Manifest.SHA256
	info, err := os.Stat(r.File)
	if err != nil {
		return ModelReport{}, err
	}
	r.Bytes = info.Size()
	return r, nil
}

func inspectFile(path string) (ModelReport, error) {
	info, err := os.Stat(path)
	if err != nil {
		return ModelReport{}, err
	}
	if limit := repository.DefaultLimits().ModelBytes; info.Size() > limit {
		return ModelReport{}, fmt.Errorf("%s: has %d bytes, at most %d are read", path, info.Size(), limit)
	}
	if !info.Mode().IsRegular() {
		return ModelReport{}, errors.New(path + ": is not a regular file")
	}
	if strings.EqualFold(filepath.Ext(path), ".onnx") {
		return ModelReport{}, fmt.Errorf("%s: only a worker reads what is in an ONNX file; name the folder of its version, whose model.yaml says what it is", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return ModelReport{}, err
	}
	ensemble, err := modelfile.Parse(path, data)
	if err != nil {
		return ModelReport{}, err
	}
	if _, err := tree.Compile(ensemble); err != nil {
		return ModelReport{}, fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(data)
	r := report(repository.Summarize(ensemble))
	r.Title, r.File, r.Bytes, r.SHA256 = filepath.Base(path), path, info.Size(), hex.EncodeToString(sum[:])
	r.Golden = "none: a file alone has no model.yaml"
	return r, nil
}

func report(s repository.Summary) ModelReport {
	precision := "float64"
	if s.Precision == tree.Float32 {
		precision = "float32"
	}
	return ModelReport{
		Format: s.Format, Library: s.Library, Objective: s.Objective, Precision: precision, Outputs: s.Outputs,
		Trees: s.Trees, MaxDepth: s.MaxDepth, Leaves: s.Leaves, MaxLeaves: s.MaxLeaves,
		Features: len(s.Features), Splits: s.Splits, Importances: s.Importances,
	}
}
