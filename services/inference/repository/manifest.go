package repository

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Manifest is a version's model.yaml.
type Manifest struct {
	Description string   `json:"description" doc:"What the outputs mean, for people."`
	File        string   `json:"file" doc:"The model file, in the same folder."`
	SHA256      string   `json:"sha256" doc:"SHA-256 of the model file, in hexadecimal."`
	Objective   string   `json:"objective" doc:"The objective that the model file states; of trees only."`
	Inputs      []string `json:"inputs" doc:"The features by name, in the order of a row."`
	Golden      Golden   `json:"golden" doc:"Rows that the model must reproduce before it serves."`

	Engine  string            `json:"engine" doc:"The engine whose worker processes serve the model. Empty: by the file's ending, onnx for .onnx; any other file is one of trees, which need no worker."`
	Input   string            `json:"input" doc:"The model's tensor that has a row's features, where workers serve it. Empty: the only one that it has."`
	Output  string            `json:"output" doc:"The model's tensor of the answer, likewise."`
	Options map[string]string `json:"options" doc:"For the worker, whose documentation says which there are. They go before those of the engine."`
}

// EngineName is the engine whose workers serve the model, empty for trees.
func (m Manifest) EngineName() string {
	if m.Engine == "" && m.Format() == "onnx" {
		return "onnx"
	}
	return m.Engine
}

// Format is that of the model file, as a worker knows it: the file's ending, or else the engine's name.
func (m Manifest) Format() string {
	if format := strings.ToLower(strings.TrimPrefix(path.Ext(m.File), ".")); format != "" {
		return format
	}
	return m.Engine
}

// Golden are rows and the answers that the library which trained the model gives for them.
type Golden struct {
	Tolerance float64     `json:"tolerance" doc:"Largest difference from an expected output, times the larger of 1 and the output's magnitude."`
	Rows      []GoldenRow `json:"rows" doc:"At least one."`
}

// GoldenRow is one row; NaN (null in the file) is a missing value.
type GoldenRow struct {
	Input  []float64 `json:"input" null:"nan" doc:"A value for each input."`
	Output []float64 `json:"output" doc:"The expected outputs."`
}

// maxTensorName is what a tensor may be called.
const maxTensorName = 256

// maxTolerance keeps a manifest from waving through a model that is plainly another one.
const maxTolerance = 1e-3

// Validate reports every fault at once.
func (m Manifest) Validate() error {
	var faults []error
	if !fs.ValidPath(m.File) || strings.Contains(m.File, "/") || m.File == "." {
		faults = append(faults, fmt.Errorf("file: must be the name of a file beside model.yaml, is %q", m.File))
	}
	if sum, err := hex.DecodeString(m.SHA256); err != nil || len(sum) != 32 {
		faults = append(faults, errors.New("sha256: must be 64 hexadecimal digits"))
	}
	if m.Engine != "" && !validName(m.Engine) {
		faults = append(faults, fmt.Errorf("engine: must be a name of letters, digits, '.', '_' and '-', is %q", m.Engine))
	}
	if m.EngineName() != "" {
		for _, tensor := range []struct{ key, name string }{{"input", m.Input}, {"output", m.Output}} {
			if len(tensor.name) > maxTensorName || !utf8.ValidString(tensor.name) {
				faults = append(faults, fmt.Errorf("%s: must be at most %d bytes of UTF-8, is %.64q", tensor.key, maxTensorName, tensor.name))
			}
		}
	} else if m.Input != "" || m.Output != "" || len(m.Options) > 0 {
		faults = append(faults, errors.New("input, output, options: are for a model that workers serve; state its engine"))
	}
	if m.Objective == "" && m.EngineName() == "" {
		faults = append(faults, errors.New("objective: must be the one that the model file states"))
	}
	seen := make(map[string]bool, len(m.Inputs))
	for i, name := range m.Inputs {
		if name == "" || seen[name] {
			faults = append(faults, fmt.Errorf("inputs: name %d, %q, is empty or appears twice", i, name))
		}
		seen[name] = true
	}
	if len(m.Inputs) == 0 {
		faults = append(faults, errors.New("inputs: must name the features"))
	}
	return errors.Join(faults...)
}

// Validate reports every fault at once.
func (g Golden) Validate() error {
	var faults []error
	if !(g.Tolerance > 0 && g.Tolerance <= maxTolerance) {
		faults = append(faults, fmt.Errorf("tolerance: must be above 0 and at most %g, is %g", maxTolerance, g.Tolerance))
	}
	if len(g.Rows) == 0 {
		faults = append(faults, errors.New("rows: at least one is needed"))
	}
	for i, row := range g.Rows {
		for _, v := range row.Output {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				faults = append(faults, fmt.Errorf("rows[%d].output: must be finite", i))
				break
			}
		}
	}
	return errors.Join(faults...)
}

// Policy is a model's policy.yaml.
type Policy struct {
	Serve string   `json:"serve" doc:"The version that answers a request which names none."`
	Also  []string `json:"also" doc:"Further versions that answer a request which names them."`

	Fallback Fallback `json:"fallback" doc:"What answers while the model cannot."`
	Core     bool     `json:"core" doc:"The service is not ready without the model, or degraded while its fallback answers. It matters for models that workers serve."`
}

// Fallback names a version of trees with the same inputs and as many outputs.
type Fallback struct {
	Model   string `json:"model" doc:"Another model of the repository. Empty: none."`
	Version string `json:"version" doc:"One of its versions that are served. Empty: the one that answers."`
}

func (f Fallback) String() string {
	if f.Version == "" {
		return f.Model
	}
	return f.Model + " version " + f.Version
}

// DefaultPolicy is that of a model which the service needs.
func DefaultPolicy() Policy { return Policy{Core: true} }

// Validate reports every fault at once.
func (p Policy) Validate() error {
	var faults []error
	if !validName(p.Serve) {
		faults = append(faults, fmt.Errorf("serve: must be the name of a version's folder, is %q", p.Serve))
	}
	seen := map[string]bool{p.Serve: true}
	for _, v := range p.Also {
		if !validName(v) || seen[v] {
			faults = append(faults, fmt.Errorf("also: %q is no folder's name or is named twice", v))
		}
		seen[v] = true
	}
	if f := p.Fallback; f.Model != "" && !validName(f.Model) || f.Version != "" && (f.Model == "" || !validName(f.Version)) {
		faults = append(faults, fmt.Errorf("fallback: must be a model's name, and its version or none, is %q and %q", f.Model, f.Version))
	}
	return errors.Join(faults...)
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// validName tells whether a folder may be the name of a model or a version: what goes unescaped into
// a path, a label and a log line.
func validName(name string) bool { return namePattern.MatchString(name) }
