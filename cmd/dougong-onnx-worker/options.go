//go:build cgo

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// settings are the options of LOAD, understood.
type settings struct {
	providers    []string // in order of preference; the CPU is one of them or not
	arena        bool
	optimization ort.GraphOptimizationLevel
	library      string
}

var optimizations = map[string]ort.GraphOptimizationLevel{
	"off":      ort.GraphOptimizationLevelDisableAll,
	"basic":    ort.GraphOptimizationLevelEnableBasic,
	"extended": ort.GraphOptimizationLevelEnableExtended,
	"all":      ort.GraphOptimizationLevelEnableAll,
}

// providerNames are those that ONNX Runtime's C API knows by name, as it spells them. Which of them a library has is
// for the library to say.
var providerNames = map[string]string{
	"cpu": "", "cuda": "", "tensorrt": "", "openvino": "", // these have a way of their own
	"rocm": "ROCM", "migraphx": "MIGraphX", "qnn": "QNN", "xnnpack": "XNNPACK", "webgpu": "WebGPU",
	"vitisai": "VitisAI", "snpe": "SNPE", "azure": "AZURE",
}

// parseOptions reports every fault.
func parseOptions(options map[string]string) (settings, error) {
	s := settings{providers: []string{"cpu"}, optimization: ort.GraphOptimizationLevelEnableAll}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		switch key {
		case "providers":
			s.providers = nil
			for name := range strings.SplitSeq(value, ",") {
				name = strings.ToLower(strings.TrimSpace(name))
				if _, ok := providerNames[name]; !ok {
					fault("providers: %q is unknown; known are %s", name, strings.Join(slices.Sorted(maps.Keys(providerNames)), ", "))
				}
				if slices.Contains(s.providers, name) {
					fault("providers: %q is named twice", name)
				}
				s.providers = append(s.providers, name)
			}
			if at := slices.Index(s.providers, "cpu"); at >= 0 && at < len(s.providers)-1 {
				fault("providers: cpu comes last; what is named behind it would never be used")
			}
		case "arena":
			if value != "on" && value != "off" {
				fault("arena: %q; it is on or off", value)
			}
			s.arena = value == "on"
		case "optimization":
			level, ok := optimizations[value]
			if !ok {
				fault("optimization: %q; it is one of %s", value, strings.Join(slices.Sorted(maps.Keys(optimizations)), ", "))
			}
			s.optimization = level
		case "library":
			s.library = value
		default:
			fault("%s: unknown; known are arena, library, optimization, providers", key)
		}
	}
	return s, errors.Join(faults...)
}

// sessionOptions are the settings as ONNX Runtime takes them. The caller destroys them.
func (s settings) sessionOptions(threads int) (_ *ort.SessionOptions, err error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = o.Destroy()
		}
	}()
	onlyWhatIsNamed := "0"
	if !slices.Contains(s.providers, "cpu") {
		onlyWhatIsNamed = "1" // or what the device cannot do would run on the CPU, and nobody would know
	}
	for _, set := range []func() error{
		// Without a limit it would take a thread a processor of the machine, whatever the cgroup allows.
		func() error { return o.SetIntraOpNumThreads(max(threads, 1)) },
		func() error { return o.SetInterOpNumThreads(1) },
		func() error { return o.SetCpuMemArena(s.arena) },
		func() error { return o.SetMemPattern(s.arena) }, // the plan of an arena
		func() error { return o.SetGraphOptimizationLevel(s.optimization) },
		// Threads that spin while they wait for work take the processor from those who have some.
		func() error { return o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
		func() error { return o.AddSessionConfigEntry("session.disable_cpu_ep_fallback", onlyWhatIsNamed) },
	} {
		if err := set(); err != nil {
			return nil, err
		}
	}
	for _, name := range s.providers {
		if err := appendProvider(o, name); err != nil {
			return nil, fmt.Errorf("providers: this library cannot use %s: %w; the one of make install-onnx is for the CPU alone", name, err)
		}
	}
	return o, nil
}

// appendProvider leaves each provider its defaults: its device is the first of those that CUDA_VISIBLE_DEVICES, or the
// like of it, shows the process.
func appendProvider(o *ort.SessionOptions, name string) error {
	switch name {
	case "cpu":
		return nil // is always there, behind the others
	case "cuda":
		cuda, err := ort.NewCUDAProviderOptions()
		if err != nil {
			return err
		}
		defer func() { _ = cuda.Destroy() }()
		return o.AppendExecutionProviderCUDA(cuda)
	case "tensorrt":
		tensorrt, err := ort.NewTensorRTProviderOptions()
		if err != nil {
			return err
		}
		defer func() { _ = tensorrt.Destroy() }()
		return o.AppendExecutionProviderTensorRT(tensorrt)
	case "openvino":
		return o.AppendExecutionProviderOpenVINO(nil)
	}
	return o.AppendExecutionProvider(providerNames[name], nil)
}
