package hardening

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// build compiles testdata/linked.
func build(t testing.TB, cgo string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "linked")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", file}, flags...), "./testdata/linked")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

// compiler is that of C, without which what it links cannot be looked at.
func compiler(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("ELF is looked at on Linux")
	}
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs a C compiler: install gcc (Debian: apt-get install gcc libc6-dev)")
	}
	return cc
}

// compile makes testdata/NAME.c.
func compile(t testing.TB, name, to string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), to)
	args := append([]string{"-o", file, filepath.Join("testdata", name+".c")}, flags...)
	if out, err := exec.CommandContext(t.Context(), compiler(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

func linkageOfFile(t testing.TB, file string) linkage {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := readLinkage(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// muslLike links a program as musl's tools would, with the loader and the C library named so.
func muslLike(t testing.TB) string {
	const soname = "libc.musl-x86_64.so.1"
	lib := compile(t, "empty", soname, "-shared", "-nostdlib", "-Wl,-soname,"+soname)
	return compile(t, "empty", "musl", "-nostdlib", "-Wl,--no-as-needed", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1", lib)
}

func TestStaticBinaryHasNoLibc(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ELF is looked at on Linux")
	}
	file := build(t, "0")
	if l := linkageOfFile(t, file); l.libc != libcNone || !l.static() || len(l.needed) != 0 {
		t.Errorf("%+v", l)
	}
	got := runProcess(t, exec.CommandContext(t.Context(), file))
	if got.code != 0 || !strings.Contains(got.stdout, `"libc":"none","static":true`) {
		t.Errorf("it says %s%s", got.stdout, got.stderr)
	}
}

func TestCgoBinaryIsLinkedToGlibc(t *testing.T) {
	compiler(t)
	file := build(t, "1")
	l := linkageOfFile(t, file)
	if l.libc != libcGlibc || l.static() || !slices.Contains(l.needed, "libc.so.6") {
		t.Errorf("%+v", l)
	}
	got := runProcess(t, exec.CommandContext(t.Context(), file))
	if got.code != 0 || !strings.Contains(got.stdout, `"libc":"glibc","static":false,"interpreter":"`+l.interpreter) {
		t.Errorf("it says %s%s", got.stdout, got.stderr)
	}
}

func TestStaticCgoBinaryHoldsGlibc(t *testing.T) {
	compiler(t)
	if l := linkageOfFile(t, build(t, "1", "-ldflags", "-linkmode external -extldflags -static -s -w")); l.libc != libcGlibc || !l.static() {
		t.Errorf("%+v", l)
	}
}

func TestMuslIsKnownByItsLoader(t *testing.T) {
	l := linkageOfFile(t, muslLike(t))
	if l.libc != libcMusl || l.static() || !slices.Equal(l.needed, []string{"libc.musl-x86_64.so.1"}) {
		t.Errorf("%+v", l)
	}
}

func TestLibcOf(t *testing.T) {
	for _, c := range []struct {
		interpreter string
		needed      []string
		want        string
	}{
		{"/lib64/ld-linux-x86-64.so.2", nil, libcGlibc},
		{"/lib/ld-linux-aarch64.so.1", []string{"libc.so.6"}, libcGlibc},
		{"/lib64/ld64.so.2", nil, libcGlibc},
		{"/lib/ld-musl-aarch64.so.1", []string{"libc.so"}, libcMusl},
		{"/opt/loader", []string{"libm.so.6", "libc.so.6"}, libcGlibc},
		{"/opt/loader", []string{"libc.musl-x86_64.so.1"}, libcMusl},
		{"/lib/ld-musl-x86_64.so.1", []string{"libc.so.6"}, libcMusl}, // glibc's names, which musl's loader knows as itself
		{"/system/bin/linker64", []string{"libc.so"}, libcUnknown},
	} {
		if got := libcOf(c.interpreter, c.needed); got != c.want {
			t.Errorf("%s with %v: %s, want %s", c.interpreter, c.needed, got, c.want)
		}
	}
}

// TestPreloadedCodeCannotHide: a library that takes LD_PRELOAD out of the environment is seen all the same.
func TestPreloadedCodeCannotHide(t *testing.T) {
	compiler(t)
	file, lib := build(t, "1"), compile(t, "hide", "hide.so", "-shared", "-fPIC")
	cmd := exec.CommandContext(t.Context(), file)
	cmd.Env = []string{"LD_PRELOAD=" + lib}
	if got := runProcess(t, cmd); got.code != 2 || !strings.Contains(got.stderr, "hardened mode: LD_PRELOAD is set") {
		t.Errorf("exit code %d, %s%s", got.code, got.stdout, got.stderr)
	}
}

func TestLoaderWithoutBoundIsRefused(t *testing.T) {
	for size, want := range map[uint64]string{maxInterpreter + 1: "at most 4096", 0: "has no name", maxInterpreter: "interpreter"} {
		if _, err := readLinkage(bytes.NewReader(tinyELF(size))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a loader's name of %d bytes: %v", size, err)
		}
	}
}

// tinyELF is a header and one PT_INTERP that says it has size bytes, without them.
func tinyELF(size uint64) []byte {
	head := make([]byte, 64+56)
	copy(head, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(head[16:], 2)       // executable
	le.PutUint16(head[18:], 62)      // x86-64
	le.PutUint32(head[20:], 1)       // version
	le.PutUint64(head[32:], 64)      // where the program headers begin
	le.PutUint16(head[52:], 64)      // size of this header
	le.PutUint16(head[54:], 56)      // size of a program header
	le.PutUint16(head[56:], 1)       // how many
	le.PutUint16(head[58:], 64)      // size of a section header
	le.PutUint32(head[64:], 3)       // PT_INTERP
	le.PutUint64(head[64+8:], 120)   // where
	le.PutUint64(head[64+32:], size) // how long
	return head
}

func FuzzLinkage(f *testing.F) {
	f.Add(tinyELF(8))
	f.Add([]byte("\x7fELF"))
	if _, err := exec.LookPath("gcc"); err == nil && runtime.GOOS == "linux" {
		for _, file := range []string{muslLike(f), compile(f, "empty", "static", "-nostdlib", "-static")} {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := readLinkage(bytes.NewReader(data))
		if err == nil && (l.libc == "" || l.static() != (l.interpreter == "") || l.static() && l.needed != nil || len(l.interpreter) > maxInterpreter) {
			t.Errorf("%+v", l)
		}
	})
}
