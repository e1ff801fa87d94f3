package hardening

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What a binary may have as its C library.
const (
	libcNone    = "none"
	libcGlibc   = "glibc"
	libcMusl    = "musl"
	libcUnknown = "unknown"
)

// linkage is what a binary needs from outside to start.
type linkage struct {
	libc        string
	interpreter string   // the loader (PT_INTERP); empty: none, the binary is static
	needed      []string // the libraries that it names (DT_NEEDED)
}

func (l linkage) static() bool { return l.interpreter == "" }

// maxInterpreter bounds the name of the loader, as the kernel does (PATH_MAX).
const maxInterpreter = 4096

// readLinkage reads an ELF file.
func readLinkage(r io.ReaderAt) (linkage, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return linkage{}, fmt.Errorf("linkage: not a readable ELF file: %w", err)
	}
	var l linkage
	if l.interpreter, err = interpreterOf(f); err != nil {
		return linkage{}, err
	}
	if l.static() {
		l.libc = libcNone
		// The start-up code of glibc leaves a note, also in a static binary; musl's leaves nothing.
		if f.Section(".note.ABI-tag") != nil {
			l.libc = libcGlibc
		}
		return l, nil
	}
	if l.needed, err = f.DynString(elf.DT_NEEDED); err != nil {
		return linkage{}, fmt.Errorf("linkage: needed libraries: %w", err)
	}
	l.libc = libcOf(l.interpreter, l.needed)
	return l, nil
}

func interpreterOf(f *elf.File) (string, error) {
	at := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if at < 0 {
		return "", nil
	}
	if f.Progs[at].Filesz > maxInterpreter {
		return "", fmt.Errorf("linkage: interpreter: a name of %d bytes; at most %d are read", f.Progs[at].Filesz, maxInterpreter)
	}
	name, err := io.ReadAll(f.Progs[at].Open())
	if err != nil {
		return "", fmt.Errorf("linkage: interpreter: %w", err)
	}
	name, _, _ = bytes.Cut(name, []byte{0})
	if len(name) == 0 {
		return "", errors.New("linkage: interpreter: it has no name")
	}
	return string(name), nil
}

// libcOf goes by the loader, which belongs to its library, and else by the libraries.
func libcOf(interpreter string, needed []string) string {
	loader := interpreter[strings.LastIndexByte(interpreter, '/')+1:]
	switch {
	case strings.HasPrefix(loader, "ld-musl"):
		return libcMusl
	case strings.HasPrefix(loader, "ld-linux"), strings.HasPrefix(loader, "ld64.so"):
		return libcGlibc
	case slices.Contains(needed, "libc.so.6"):
		return libcGlibc
	case slices.ContainsFunc(needed, func(n string) bool { return strings.HasPrefix(n, "libc.musl-") }):
		return libcMusl
	}
	return libcUnknown
}
