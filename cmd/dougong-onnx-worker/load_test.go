//go:build cgo

package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/services/inference/wire"
	ort "github.com/yalue/onnxruntime_go"
)

// refused starts a worker whose LOAD must be refused, with all that want says, and which then ends with 1.
func refused(t *testing.T, program string, model []byte, options map[string]string, env []string, want ...string) {
	t.Helper()
	p := start(t, program, 1, model, env...)
	p.hello()
	_, f := p.load(options)
	if f == nil || f.Code != wire.Refused {
		p.fatal("LOAD was answered with %v", f)
	}
	t.Log(f.Message)
	for _, part := range want {
		if !strings.Contains(f.Message, part) {
			t.Errorf("refused with\n%s\nwithout %q", f.Message, part)
		}
	}
	p.wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func digits(t testing.TB) []byte {
	return readFile(t, "../../examples/models/digits/1/digits.onnx")
}

func TestModelsAndOptionsAreRefusedWithTheReason(t *testing.T) {
	env := []string{libraryVariable + "=" + fetchedLibrary(t)}
	model := digits(t)
	plain := wire.Spec{Name: "x", Datatype: wire.FP32, Shape: []int64{-1}}
	halfOut := wire.Spec{Name: "y", Datatype: wire.FP16, Shape: []int64{-1, -1}}
	for _, c := range []struct {
		name    string
		model   []byte
		options map[string]string
		want    []string
	}{
		{"garbage", []byte(strings.Repeat("garbage!", 1000)), nil, []string{`model "test"`, "Protobuf parsing failed"}},
		{"nothing but zeros", make([]byte, 5000), nil, []string{`model "test"`}},
		{"empty", nil, nil, []string{`model "test"`}},
		{"truncated", model[:len(model)-100], nil, []string{"Protobuf parsing failed"}},
		{"truncated early", model[:40], nil, []string{`model "test"`}},
		{"an unknown operator", onnxModel([]wire.Spec{plain}, []wire.Spec{{Name: "y", Datatype: wire.FP32, Shape: []int64{-1}}}, node{op: "Frobnicate", in: []string{"x"}, out: []string{"y"}}), nil, []string{"Frobnicate"}},
		{"a sequence", onnxModelOf([]wire.Spec{plain}, []message{sequenceInfo(wire.Spec{Name: "all", Datatype: wire.FP32})}, node{op: "SequenceConstruct", in: []string{"x"}, out: []string{"all"}}), nil,
			[]string{`output "all" is a ONNX_TYPE_SEQUENCE, and only tensors can be sent`, "zipmap=False"}},
		{"halves of any shape", onnxModel([]wire.Spec{{Name: "x", Datatype: wire.FP16, Shape: []int64{-1, -1}}}, []wire.Spec{halfOut}, identity("x", "y")), nil, []string{`output "y" is FP16 [-1 -1]`, "cast it to FP32"}},
		{"options", model, map[string]string{"providers": "cuda, warp,cpu,cpu", "arena": "maybe", "optimization": "much", "speed": "1", "haste": "2"}, []string{
			"speed: unknown", "haste: unknown", `arena: "maybe"; it is on or off`, `optimization: "much"; it is one of all, basic, extended, off`, `"warp" is unknown; known are azure, cpu, cuda`, `"cpu" is named twice`, "cpu comes last"}},
		{"a provider that the library has not", model, map[string]string{"providers": "cuda,cpu"}, []string{"providers: this library cannot use cuda: "}},
		{"another one", model, map[string]string{"providers": "rocm"}, []string{"providers: this library cannot use rocm: "}},
		{"a third", model, map[string]string{"providers": "tensorrt,cuda,cpu"}, []string{"providers: this library cannot use tensorrt: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refused(t, os.Args[0], c.model, c.options, env, c.want...)
		})
	}
	t.Run("another format", func(t *testing.T) {
		p := start(t, os.Args[0], 1, model, env...)
		p.hello()
		f := p.ask(wire.TypeLoad, wire.Load{Model: "test", Format: "npz", FD: 5, Bytes: int64(len(model))}, wire.TypeLoaded, nil)
		if f == nil || f.Code != wire.Refused || !strings.Contains(f.Message, `format "npz"`) {
			t.Errorf("%v", f)
		}
	})
}

func TestOptionsAreTaken(t *testing.T) {
	for _, options := range []map[string]string{
		{}, {"providers": "cpu", "arena": "on", "optimization": "off"}, {"arena": "off", "optimization": "basic"}, {"optimization": "extended", "library": fetchedLibrary(t)}, {"optimization": "all", "library": filepath.Dir(fetchedLibrary(t))},
	} {
		all := map[string]string{"library": fetchedLibrary(t)}
		maps.Copy(all, options)
		p := start(t, os.Args[0], 1, digits(t))
		if w := p.hello(); w.Name != "dougong-onnx-worker" || w.Version != 1 || w.Build == "" {
			t.Errorf("%+v", w)
		}
		if _, f := p.load(all); f != nil {
			p.fatal("%v: %v", options, f)
		}
		if _, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32("image", []int64{1, 64}, make([]float32, 64)...)}}); err != nil {
			t.Error(err)
		}
		p.drain()
	}
}

// copyProgram puts the test binary where no library is beside it, or a certain one.
func copyProgram(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "dougong-onnx-worker")
	if err := os.Link(os.Args[0], program); err != nil {
		if err := os.WriteFile(program, readFile(t, os.Args[0]), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return program
}

func TestLibraryThatIsNotFitIsRefusedWithWhatItIs(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(text, []byte(strings.Repeat("I am no library.\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(cut, readFile(t, fetchedLibrary(t))[:100_000], 0o600); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "libonnxruntime.so")
	data := readFile(t, fetchedLibrary(t))
	before := len(data)
	data = regexp.MustCompile(`VERS_1\.30\.0\x00`).ReplaceAll(data, []byte("VERS_1.20.0\x00"))
	if err := os.WriteFile(old, data, 0o600); err != nil || len(data) != before {
		t.Fatal(err)
	}
	libc, err := exec.Command("sh", "-c", "ldd /bin/sh | sed -n 's/.*libc[^ ]* => \\([^ ]*\\).*/\\1/p'").Output()
	if err != nil || len(libc) == 0 {
		t.Skip("no libc.so found")
	}
	for path, want := range map[string]string{
		text:                            "is no shared library (bad magic number",
		cut:                             "libonnxruntime.so",
		old:                             "is ONNX Runtime 1.20.0; this worker needs 1.24 or later",
		strings.TrimSpace(string(libc)): "is not ONNX Runtime: it has no OrtGetApiBase",
		"/nowhere/at/all.so":            "no ONNX Runtime: the option library names /nowhere/at/all.so: no such file",
	} {
		refused(t, copyProgram(t), digits(t), map[string]string{"library": path}, nil, want, "make install-onnx fetches it")
	}
	refused(t, copyProgram(t), digits(t), nil, []string{libraryVariable + "=/nowhere.so"}, "no ONNX Runtime: ORT_LIBRARY names /nowhere.so: no such file")
}

func TestLibraryIsLookedForInOrder(t *testing.T) {
	library := fetchedLibrary(t)
	link := func(dir string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(library, filepath.Join(dir, libraryName())); err != nil {
			t.Fatal(err)
		}
	}
	found := func(program string, options map[string]string, env ...string) {
		t.Helper()
		p := start(t, program, 1, digits(t), env...)
		w := p.hello()
		loaded, f := p.load(options)
		if f != nil {
			p.fatal("%v", f)
		}
		if options == nil && w.Engine != loaded.Engine || !strings.HasPrefix(loaded.Engine, "onnxruntime 1.") {
			t.Errorf("HELLO says %q, LOADED %q", w.Engine, loaded.Engine)
		}
		p.drain()
	}
	home := t.TempDir()
	t.Run("nowhere", func(t *testing.T) {
		program := copyProgram(t)
		refused(t, program, digits(t), nil, []string{"HOME=" + home}, "no ONNX Runtime: there is no libonnxruntime.so in "+filepath.Dir(program), filepath.Join(home, ".local/lib/dougong"), "loader knows none", "make install-onnx fetches it")
	})
	t.Run("on the loader's path", func(t *testing.T) {
		p := start(t, copyProgram(t), 1, digits(t), "HOME="+home, "LD_LIBRARY_PATH="+filepath.Dir(library))
		if w := p.hello(); w.Engine != "onnxruntime (none found)" {
			t.Errorf("%+v", w)
		}
		if _, f := p.load(nil); f != nil {
			p.fatal("%v", f)
		}
		p.drain()
	})
	t.Run("and it reports nothing", func(t *testing.T) {
		home := t.TempDir()
		found(copyProgram(t), map[string]string{"library": library}, "HOME="+home)
		if entries, err := os.ReadDir(home); err != nil || len(entries) > 0 {
			t.Errorf("the library has written into the home: %v, %v", entries, err)
		}
	})
	t.Run("in the home", func(t *testing.T) {
		link(filepath.Join(home, ".local", "lib", "dougong"))
		found(copyProgram(t), nil, "HOME="+home)
	})
	t.Run("beside the program", func(t *testing.T) {
		program := copyProgram(t)
		link(filepath.Dir(program))
		found(program, nil, "HOME="+t.TempDir())
	})
	t.Run("by the variable, before a broken one beside the program", func(t *testing.T) {
		program := copyProgram(t)
		if err := os.WriteFile(filepath.Join(filepath.Dir(program), libraryName()), []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		found(program, nil, libraryVariable+"="+library)
		refused(t, program, digits(t), nil, []string{"HOME=" + home}, "is no shared library")
	})
	t.Run("by the option, before all", func(t *testing.T) {
		found(copyProgram(t), map[string]string{"library": library}, libraryVariable+"=/nowhere.so")
	})
}

func TestOldestVersionIsThatOfTheBinding(t *testing.T) {
	for version, old := range map[string]bool{"1.23.2": true, "1.24.0": false, "1.30.0": false, "0.9.1": true, "2.0.0": false, "": false, "dev": false} {
		if tooOld(version) != old {
			t.Errorf("%q: too old is %v", version, !old)
		}
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Fatal(err)
	}
	header := readFile(t, filepath.Join(strings.TrimSpace(string(dir)), "onnxruntime_c_api.h"))
	if want := "#define ORT_API_VERSION " + strconv.Itoa(oldestMinor) + "\n"; !strings.Contains(string(header), want) {
		t.Errorf("the binding's header has no %q", want)
	}
}

func TestDatatypesAreThoseOfTheProtocol(t *testing.T) {
	seen := map[wire.Datatype]bool{}
	for element := ort.TensorElementDataType(0); element < 40; element++ {
		if d, ok := datatypeOf(element); ok {
			seen[d] = true
		}
	}
	if len(seen) != 14 {
		t.Errorf("%d datatypes of 14 have one of ONNX Runtime's", len(seen))
	}
}
