//go:build cgo

package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

const (
	// libraryVariable names the library, or the folder that it is in.
	libraryVariable = "ORT_LIBRARY"
	// telemetryVariable keeps the library from reporting on whom it serves.
	telemetryVariable = "ORT_DISABLE_TELEMETRY"
	// oldestMinor is of 1.x: the API that the binding asks the library for has that number.
	oldestMinor = 24

	howToGet = "make install-onnx fetches it; " + libraryVariable + " or the option library names another"
)

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// library is one that was found. Without a folder in its path the loader finds it.
type library struct {
	path    string
	version string // "" if it tells only once it is loaded
}

// findLibrary looks in the places where the library may be, in order. The first that has one decides: what somebody
// named, or put beside the worker, is not passed over for another because something is wrong with it.
func findLibrary(option string) (library, error) {
	name := libraryName()
	for _, named := range []struct{ by, path string }{{"the option library", option}, {libraryVariable, os.Getenv(libraryVariable)}} {
		if named.path == "" {
			continue
		}
		path := named.path
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, name)
		}
		if _, err := os.Stat(path); err != nil {
			return library{}, fmt.Errorf("no ONNX Runtime: %s names %s: %w; %s", named.by, named.path, plain(err), howToGet)
		}
		return inspect(path)
	}
	var looked []string
	for _, dir := range libraryDirs() {
		path := filepath.Join(dir, name)
		_, err := os.Stat(path)
		if err == nil {
			return inspect(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			looked = append(looked, dir)
		} else {
			looked = append(looked, fmt.Sprintf("%s (%v)", dir, plain(err)))
		}
	}
	return library{path: name}, &notFoundError{looked: looked}
}

// notFoundError: there is none where this program looks. The loader may yet know one.
type notFoundError struct{ looked []string }

func (e *notFoundError) Error() string {
	return fmt.Sprintf("no ONNX Runtime: there is no %s in %s, and the system's loader knows none; %s", libraryName(), strings.Join(e.looked, ", "), howToGet)
}

// libraryDirs are beside this program, and where make install-onnx puts the library.
func libraryDirs() []string {
	var dirs []string
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		dirs = append(dirs, filepath.Dir(self))
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".local", "lib", "dougong"))
	}
	return dirs
}

// inspect looks at a file before the loader runs what is in it: the loader's own messages do not say what a file is
// instead, and a library that is too old ends in a pointer to nowhere.
func inspect(path string) (library, error) {
	found := library{path: path}
	if runtime.GOOS != "linux" {
		return found, nil
	}
	unfit := func(format string, args ...any) (library, error) {
		return library{}, fmt.Errorf("%s %s; %s", path, fmt.Sprintf(format, args...), howToGet)
	}
	file, err := elf.Open(path)
	if err != nil {
		return unfit("is no shared library (%v)", plain(err))
	}
	defer file.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]; want != elf.EM_NONE && file.Machine != want {
		return unfit("is for %v; this worker is for %v", file.Machine, want)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return unfit("is no shared library (%v)", err)
	}
	for _, s := range symbols {
		if s.Name == "OrtGetApiBase" && s.Section != elf.SHN_UNDEF {
			found.version = strings.TrimPrefix(s.Version, "VERS_")
			if tooOld(found.version) {
				return unfit("is ONNX Runtime %s; this worker needs 1.%d or later", found.version, oldestMinor)
			}
			return found, nil
		}
	}
	return unfit("is not ONNX Runtime: it has no OrtGetApiBase")
}

// tooOld is false for a version that cannot be read: then the library is asked for its API.
func tooOld(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a < 1 || a == 1 && b < oldestMinor)
}

// open loads the library into this process, where it stays: it cannot be unloaded without danger, which is one reason
// for a worker to be a process.
func (l library) open() error {
	// Unless told not to, the library writes a database into the user's home and reports to its maker.
	if _, told := os.LookupEnv(telemetryVariable); !told {
		os.Setenv(telemetryVariable, "1") // C sees it too
	}
	ort.SetSharedLibraryPath(l.path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		if strings.Contains(err.Error(), "ORT API base: 2") {
			return fmt.Errorf("%s is too old for this worker, which needs ONNX Runtime 1.%d or later; %s", l.path, oldestMinor, howToGet)
		}
		return fmt.Errorf("%s cannot be loaded: %v; %s", l.path, err, howToGet)
	}
	return nil
}

// engineName is what the supervisor is told before anything is loaded.
func engineName() string {
	found, err := findLibrary("")
	switch {
	case err != nil:
		return "onnxruntime (none found)"
	case found.version == "":
		return "onnxruntime"
	}
	return "onnxruntime " + found.version
}

// plain is an error without the path that it is told with anyway.
func plain(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
