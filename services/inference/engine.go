package inference

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// Engine says how the workers of an engine are started.
type Engine struct {
	Command string            `json:"command" doc:"The program: its path, or a name that is looked for beside dougong and then in PATH. Empty: dougong-ENGINE-worker."`
	Args    []string          `json:"args" doc:"Its arguments."`
	Env     []string          `json:"env" doc:"Names of environment variables that it gets beside PATH, HOME, LANG, LC_ALL, TZ, TMPDIR, LD_LIBRARY_PATH, CUDA_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES, ROCR_VISIBLE_DEVICES and all that begin with MALLOC_, NVIDIA_ or ORT_."`
	Options map[string]string `json:"options" doc:"For the worker, of every model; a model's own go before them."`
}

// validate reports every fault at once.
func (e Engine) validate() (faults []error) {
	for _, name := range e.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			faults = append(faults, fmt.Errorf("env: must be names of environment variables, has %q", name))
		}
	}
	return faults
}

// program is what is looked for.
func (e Engine) program(name string) string { return cmp.Or(e.Command, "dougong-"+name+"-worker") }

// What a worker finds in its environment, if it is in ours. It is a short list: a worker runs native code over what
// anybody sends, and our environment may hold secrets.
var (
	handedOn = []string{
		"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
		"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
	}
	handedOnPrefixes = []string{"MALLOC_", "NVIDIA_", "ORT_"}
)

// givesMemoryBack has the allocator of glibc do so: one arena, large pieces mapped and so unmapped, the rest trimmed.
var givesMemoryBack = map[string]string{
	"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072",
}

// Environment is all that a worker finds in its environment, of ours.
func (e Engine) Environment(ours []string) []string {
	env := maps.Clone(givesMemoryBack)
	for _, line := range ours {
		name, value, _ := strings.Cut(line, "=")
		handed := slices.Contains(handedOn, name) || slices.Contains(e.Env, name)
		for _, prefix := range handedOnPrefixes {
			handed = handed || strings.HasPrefix(name, prefix)
		}
		if handed {
			env[name] = value
		}
	}
	lines := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, name+"="+env[name])
	}
	return lines
}

var errNoProgram = errors.New("nothing looks for programs here")

// command is how the workers of an engine are started. With an error it is what would be, were the program there.
func (s *Service) command(engine string) (supervisor.Command, error) {
	e := s.cfg.Engines[engine]
	command := supervisor.Command{Path: e.program(engine), Args: e.Args, Env: e.Environment(os.Environ())}
	err := errNoProgram
	if s.deps.Program != nil {
		var path string
		if path, err = s.deps.Program(command.Path); err == nil {
			command.Path = path
		}
	}
	if err != nil {
		err = fmt.Errorf("inference.engines.%s: the worker program %s: %w", engine, command.Path, err)
	}
	return command, err
}

// options are those of the engine and, before them, the model's own.
func (e Engine) options(own map[string]string) map[string]string {
	options := maps.Clone(e.Options)
	if options == nil {
		options = make(map[string]string)
	}
	maps.Copy(options, own)
	return options
}
