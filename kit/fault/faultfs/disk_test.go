package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

func newDisk(t *testing.T) (*fault.Set, *Disk, string) {
	set := faulttest.New(t)
	return set, NewDisk(points(set)), filepath.Join(t.TempDir(), "x")
}

// holds compares what is on the disk.
func holds(t *testing.T, name, want string) {
	t.Helper()
	if got, err := os.ReadFile(name); string(got) != want || err != nil {
		t.Errorf("%s holds %q, not %q: %v", name, got, want, err)
	}
}

func TestNilDiskIsTheOperatingSystem(t *testing.T) {
	var disk *Disk
	name := filepath.Join(t.TempDir(), "x")
	if err := disk.WriteFile(name, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.Rename(name, name+"2"); err != nil {
		t.Error(err)
	}
	holds(t, name+"2", "abc")
	f, err := disk.Open(name + "2")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.(*os.File); !ok {
		t.Errorf("a %T", f)
	}
	f.Close()
	if err := disk.Remove(name + "2"); err != nil {
		t.Error(err)
	}
	if _, err := disk.Stat(name + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := disk.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestWriteWithoutSpaceWritesNothing(t *testing.T) {
	set, disk, name := newDisk(t)
	faulttest.Put(t, set, fault.Rule{Point: "f.write", Error: &fault.Failure{Cause: "no_space"}})
	err := disk.WriteFile(name, []byte("abc"), 0o600)
	if e, ok := errors.AsType[*fs.PathError](err); !ok || e.Op != "write" || e.Path != name || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	holds(t, name, "")
}

func TestShortWriteWritesItsBeginning(t *testing.T) {
	set, disk, name := newDisk(t)
	faulttest.Put(t, set, fault.Rule{Point: "f.write", Truncate: &fault.Truncate{After: 2}})
	if err := disk.WriteFile(name, []byte("abc"), 0o600); !errors.Is(err, io.ErrShortWrite) || !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	holds(t, name, "ab")
	if err := disk.WriteFile(name, []byte("ab"), 0o600); err != nil {
		t.Error("it is not longer than that:", err)
	}
}

func TestLostWriteLeavesAGap(t *testing.T) {
	set, disk, name := newDisk(t)
	f, err := disk.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	faulttest.Put(t, set, fault.Rule{Point: "f.write", Skip: 1, Count: 1, Drop: &fault.Drop{}})
	for _, part := range []string{"ab", "cd", "ef"} {
		if n, err := f.Write([]byte(part)); n != 2 || err != nil {
			t.Error(n, err)
		}
	}
	holds(t, name, "ab\x00\x00ef")
	faulttest.Put(t, set, fault.Rule{Point: "f.write", Count: 1, Drop: &fault.Drop{}})
	if n, err := f.WriteAt([]byte("xy"), 0); n != 2 || err != nil {
		t.Error(n, err)
	}
	holds(t, name, "ab\x00\x00ef")
	log, err := disk.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	faulttest.Put(t, set, fault.Rule{Point: "f.write", ID: "appended", Count: 1, Drop: &fault.Drop{}})
	_, _ = log.Write([]byte("lost"))
	_, _ = log.Write([]byte("gh"))
	holds(t, name, "ab\x00\x00efgh")
}

func TestCorruptedWriteLeavesTheCallersBytes(t *testing.T) {
	set, disk, name := newDisk(t)
	faulttest.Put(t, set, fault.Rule{Point: "f.write", Corrupt: &fault.Corrupt{Offset: new(int64(1)), Mode: fault.Zeroed}})
	mine := []byte("abc")
	if err := disk.WriteFile(name, mine, 0o600); err != nil || string(mine) != "abc" {
		t.Error(err, string(mine))
	}
	holds(t, name, "a\x00c")
}

func TestSyncFailsOrLies(t *testing.T) {
	set, disk, name := newDisk(t)
	f, err := disk.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	faulttest.Put(t, set, fault.Rule{Point: "f.sync", Count: 1, Error: &fault.Failure{Cause: "io"}})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.sync", Drop: &fault.Drop{}})
	f.(*diskFile).File.Close()
	if err := f.Sync(); err != nil {
		t.Error("it was done:", err)
	}
	faulttest.Clear(t, set)
	if err := f.Sync(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestEveryCallOfADiskCanFail(t *testing.T) {
	set, disk, name := newDisk(t)
	f, err := disk.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for point, call := range map[string]func() error{
		"f.open":    func() error { _, err := disk.Open(name); return err },
		"f.create":  func() error { _, err := disk.Create(name + "new"); return err },
		"f.rename":  func() error { return disk.Rename(name, name+"2") },
		"f.remove":  func() error { return disk.Remove(name) },
		"f.stat":    func() error { _, err := disk.Stat(name); return err },
		"f.readdir": func() error { _, err := disk.ReadDir(filepath.Dir(name)); return err },
		"f.write":   func() error { return f.Truncate(0) },
		"f.read":    func() error { _, err := f.Read(make([]byte, 1)); return err },
		"f.sync":    f.Sync,
	} {
		faulttest.Put(t, set, fault.Rule{Point: point, Error: &fault.Failure{Cause: "permission"}})
		if err := call(); !errors.Is(err, fault.ErrInjected) || !errors.Is(err, fs.ErrPermission) {
			t.Error(point, err)
		}
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.stat", Error: &fault.Failure{}})
	if _, err := f.Stat(); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.read", Error: &fault.Failure{}})
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.create", Where: map[string]string{"name": "*.tmp"}, Error: &fault.Failure{}})
	if _, err := disk.CreateTemp(filepath.Dir(name), "*.tmp"); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	for _, rule := range []fault.Rule{{Panic: &fault.Panicking{}}, {Error: &fault.Failure{Cause: "io"}}} {
		rule.Point = "f.close"
		faulttest.Put(t, set, rule)
		g, err := disk.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if faulttest.Panics(t, func() { err = g.Close() }) != (rule.Panic != nil) || rule.Panic == nil && !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
		if err := g.(*diskFile).File.Close(); !errors.Is(err, os.ErrClosed) {
			t.Error("it is open:", err)
		}
	}
	faulttest.Clear(t, set)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	holds(t, name, "")
}

func TestDamagedFileOfADiskIsSmaller(t *testing.T) {
	set, disk, name := newDisk(t)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.open", Truncate: &fault.Truncate{After: 10}})
	if got, err := disk.ReadFile(name); string(got) != string(content[:10]) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 10 {
		t.Error(info, err)
	}
	same(t, f, content[:10], []byte{5, 0, 0, 1, 1, 0, 2, 0, 0, 1})
}

// pipe opens a named pipe that is written to and read from by the same file.
func pipe(t *testing.T, disk *Disk, name string) File {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	f, err := disk.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDamagedPipeAndDeviceAreReadFromTheirStart(t *testing.T) {
	set, disk, name := newDisk(t)
	faulttest.Put(t, set, fault.Rule{Point: "f.open", Corrupt: &fault.Corrupt{Offset: new(int64(5)), Length: 2, Mode: fault.Zeroed}})
	faulttest.Put(t, set, fault.Rule{ID: "cut", Point: "f.open", Truncate: &fault.Truncate{After: 10}})
	f := pipe(t, disk, name)
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(iotest.OneByteReader(f)); string(got) != "01234\x00\x00789" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	device, err := disk.Open("/dev/zero")
	if err != nil {
		t.Skip(err)
	}
	defer device.Close()
	if got, err := io.ReadAll(io.LimitReader(device, 100)); len(got) != 10 || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestLostWriteToAPipeLeavesNoGap(t *testing.T) {
	set, disk, name := newDisk(t)
	f := pipe(t, disk, name)
	faulttest.Put(t, set, fault.Rule{Point: "f.write", Count: 1, Drop: &fault.Drop{}})
	for _, part := range []string{"lost", "kept"} {
		if n, err := f.Write([]byte(part)); n != 4 || err != nil {
			t.Error(n, err)
		}
	}
	got := make([]byte, 100)
	if n, err := f.Read(got); string(got[:n]) != "kept" || err != nil {
		t.Errorf("%q, %v", got[:n], err)
	}
}

// TestOpenFileIsAsItIsWhenItsRuleEnds, however it was damaged while it was read.
func TestOpenFileIsAsItIsWhenItsRuleEnds(t *testing.T) {
	set, disk, name := newDisk(t)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.open", Truncate: &fault.Truncate{After: 1000}})
	faulttest.Put(t, set, fault.Rule{ID: "zero", Point: "f.open", Corrupt: &fault.Corrupt{Offset: new(int64(0)), Length: 1 << 20, Mode: fault.Zeroed}})
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); !bytes.Equal(got, make([]byte, 1000)) || err != nil {
		t.Error(len(got), err)
	}
	if err := set.Kill(fault.Admin, true); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); !bytes.Equal(got, content[1000:]) || err != nil {
		t.Error(len(got), err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != int64(len(content)) {
		t.Error(info.Size(), err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	same(t, f, content, []byte{5, 0, 0, 1, 1, 0, 2, 0, 0, 1})
}

// TestDamagedFileIsReadConcurrently is for the race detector.
func TestDamagedFileIsReadConcurrently(t *testing.T) {
	set, disk, name := newDisk(t)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "f.open", Corrupt: &fault.Corrupt{}})
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var readers sync.WaitGroup
	for i := range int64(4) {
		readers.Go(func() {
			if n, err := f.ReadAt(make([]byte, 64), 64*i); n != 64 || err != nil {
				t.Error(n, err)
			}
		})
	}
	readers.Wait()
}
