package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"
)

// binary is a program that may go into the image, with what it says of itself.
type binary struct {
	data      []byte
	sha256    string // hex
	info      *debug.BuildInfo
	settings  map[string]string
	revision  string
	committed time.Time
	modified  bool
}

func (b binary) platform() string { return b.settings["GOOS"] + "/" + b.settings["GOARCH"] }

// readBinary reads a program and refuses one that has no place on an empty root file system, or that cannot be built
// again from what it says of itself.
func readBinary(file string) (binary, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return binary{}, err
	}
	b, err := parseBinary(data)
	if err != nil {
		return binary{}, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// parseBinary names all that is wrong at once.
func parseBinary(data []byte) (binary, error) {
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return binary{}, fmt.Errorf("no program of Go: %w", err)
	}
	sum := sha256.Sum256(data)
	b := binary{data: data, sha256: hex.EncodeToString(sum[:]), info: info, settings: map[string]string{}}
	for _, s := range info.Settings {
		b.settings[s.Key] = s.Value
	}
	var faults []error
	for _, want := range []struct{ key, value, why string }{
		{"GOOS", "linux", "containers run Linux"},
		{"CGO_ENABLED", "0", "there is no C library in the image: build it with CGO_ENABLED=0"},
		{"-trimpath", "true", "paths of the machine make each build another one: build it with -trimpath"},
		{"GOEXPERIMENT", "", "an experiment of Go is not what was tested"},
		{"vcs", "git", "where it comes from is not known: build it in a git clone with -buildvcs=true"},
	} {
		if b.settings[want.key] != want.value {
			faults = append(faults, fmt.Errorf("%s is %q, must be %q: %s", want.key, b.settings[want.key], want.value, want.why))
		}
	}
	if err := static(data); err != nil {
		faults = append(faults, err)
	}
	if b.settings["vcs"] != "" {
		b.revision, b.modified = b.settings["vcs.revision"], b.settings["vcs.modified"] != "false"
		if raw, err := hex.DecodeString(b.revision); err != nil || len(raw) != 20 && len(raw) != 32 {
			faults = append(faults, fmt.Errorf("vcs.revision %q is no commit", b.revision))
		}
		if b.committed, err = time.Parse(time.RFC3339, b.settings["vcs.time"]); err != nil || b.committed.Unix() < 0 {
			faults = append(faults, fmt.Errorf("vcs.time %q is no time since 1970", b.settings["vcs.time"]))
		}
	}
	return b, errors.Join(faults...)
}

// static refuses a program that a loader would have to start.
func static(data []byte) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not a readable ELF file: %w", err)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return errors.New("it needs a loader, and there is none in the image: build it with CGO_ENABLED=0")
	}
	return nil
}
