package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

var (
	opening  = fault.Def{Name: "f.open", Doc: "A file is opened.", Attrs: []string{"name"}, Effects: fault.Fail | fault.Mangle}
	reading  = fault.Def{Name: "f.read", Doc: "A file is read.", Attrs: []string{"name"}, Effects: fault.Call}
	stating  = fault.Def{Name: "f.stat", Doc: "A file is looked at.", Attrs: []string{"name"}, Effects: fault.Call}
	listing  = fault.Def{Name: "f.readdir", Doc: "A folder is listed.", Attrs: []string{"name"}, Effects: fault.Call}
	creating = fault.Def{Name: "f.create", Doc: "A file is created.", Attrs: []string{"name"}, Effects: fault.Call}
	writing  = fault.Def{Name: "f.write", Doc: "A file is written.", Attrs: []string{"name"}, Effects: fault.Bytes}
	syncing  = fault.Def{Name: "f.sync", Doc: "A file is synced.", Attrs: []string{"name"}, Effects: fault.Call | fault.Lose}
	shutting = fault.Def{Name: "f.close", Doc: "A file is closed.", Attrs: []string{"name"}, Effects: fault.Call}
	renaming = fault.Def{Name: "f.rename", Doc: "A file is renamed.", Attrs: []string{"name", "to"}, Effects: fault.Call}
	removing = fault.Def{Name: "f.remove", Doc: "A file is removed.", Attrs: []string{"name"}, Effects: fault.Call}
)

func points(set *fault.Set) Points {
	return Points{
		Open: set.Point(opening), Read: set.Point(reading), Stat: set.Point(stating), ReadDir: set.Point(listing), Create: set.Point(creating),
		Write: set.Point(writing), Sync: set.Point(syncing), Close: set.Point(shutting), Rename: set.Point(renaming), Remove: set.Point(removing),
	}
}

var content = func() []byte {
	b := make([]byte, 4096)
	for i := range b {
		b[i] = byte(i%251) + 1 // never 0
	}
	return b
}()

// trees are the same files twice: in memory, and of the operating system.
func trees(t testing.TB) map[string]fs.FS {
	memory := fstest.MapFS{"model.bin": {Data: content}, "dir/a.txt": {Data: []byte("a")}, "dir/b.txt": {Data: []byte("b")}}
	dir := t.TempDir()
	if err := os.CopyFS(dir, memory); err != nil {
		t.Fatal(err)
	}
	return map[string]fs.FS{"memory": memory, "os": os.DirFS(dir)}
}

func TestFSKeepsTheContractOfFS(t *testing.T) {
	for name, inner := range trees(t) {
		for rule, r := range map[string]*fault.Rule{
			"off":      nil,
			"no match": {Point: "*", Where: map[string]string{"name": "nothing"}, Error: &fault.Failure{}},
			"burning":  {Point: "*", Every: 9, Burn: &fault.Burn{CPU: time.Microsecond}},
		} {
			t.Run(name+" "+rule, func(t *testing.T) {
				set := faulttest.New(t)
				if r != nil {
					faulttest.Put(t, set, *r)
				}
				if err := fstest.TestFS(FS(inner, points(set)), "model.bin", "dir/a.txt"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestFSWithoutPointsIsTheFS(t *testing.T) {
	inner := os.DirFS(".")
	if FS(inner, Points{Write: new(fault.Point)}) != inner {
		t.Error("it is another")
	}
}

func TestEveryCallOfAnFSCanFail(t *testing.T) {
	for name, inner := range trees(t) {
		t.Run(name, func(t *testing.T) {
			set := faulttest.New(t)
			fsys := FS(inner, points(set))
			f, err := fsys.Open("model.bin")
			if err != nil {
				t.Fatal(err)
			}
			dir, err := fsys.Open("dir")
			if err != nil {
				t.Fatal(err)
			}
			for _, test := range []struct {
				op   string
				call func() error
			}{
				{"open", func() error { _, err := fsys.Open("model.bin"); return err }},
				{"open", func() error { _, err := fs.ReadFile(fsys, "model.bin"); return err }},
				{"stat", func() error { _, err := fs.Stat(fsys, "model.bin"); return err }},
				{"lstat", func() error { _, err := fs.Lstat(fsys, "model.bin"); return err }},
				{"readlink", func() error { _, err := fs.ReadLink(fsys, "model.bin"); return err }},
				{"readdir", func() error { _, err := fs.ReadDir(fsys, "dir"); return err }},
				{"readdir", func() error { _, err := dir.(fs.ReadDirFile).ReadDir(-1); return err }},
				{"read", func() error { _, err := f.Read(make([]byte, 1)); return err }},
				{"read", func() error { _, err := f.(io.ReaderAt).ReadAt(make([]byte, 1), 0); return err }},
				{"stat", func() error { _, err := f.Stat(); return err }},
				{"close", f.Close},
				{"close", dir.Close},
			} {
				faulttest.Put(t, set, fault.Rule{Point: "*", Error: &fault.Failure{Cause: "io"}})
				err := test.call()
				if e, ok := errors.AsType[*fs.PathError](err); !ok || e.Op != test.op || !errors.Is(err, syscall.EIO) || !errors.Is(err, fault.ErrInjected) {
					t.Errorf("%s: %v", test.op, err)
				}
			}
			faulttest.Clear(t, set)
			if _, err := f.Read(make([]byte, 1)); err == nil && name == "os" { // a file in memory reads on
				t.Error("it is open")
			}
			faulttest.Put(t, set, fault.Rule{Point: "f.read", Skip: 1, Error: &fault.Failure{Cause: "eof"}})
			f, _ = fsys.Open("model.bin")
			defer f.Close()
			if got, err := io.ReadAll(f); err != nil || len(got) == 0 || len(got) == len(content) {
				t.Error("an end of file is no other than a real one:", len(got), err)
			}
		})
	}
}

// TestFirstKilobyteAtOffsetHundredIsZeroed is what corruption of whole files is for: it is there at every read.
func TestFirstKilobyteAtOffsetHundredIsZeroed(t *testing.T) {
	want := slices.Clone(content)
	clear(want[100 : 100+1024])
	rule := fault.Rule{Point: "f.open", Where: map[string]string{"name": "*model.bin"}, Corrupt: &fault.Corrupt{Offset: new(int64(100)), Length: 1024, Mode: fault.Zeroed}}
	for name, inner := range trees(t) {
		t.Run(name, func(t *testing.T) {
			set := faulttest.New(t)
			faulttest.Put(t, set, rule)
			if got, err := fs.ReadFile(FS(inner, points(set)), "model.bin"); !bytes.Equal(got, want) || err != nil {
				t.Error("other bytes", err)
			}
			if got, err := fs.ReadFile(inner, "model.bin"); !bytes.Equal(got, content) || err != nil {
				t.Error("the file itself is damaged", err)
			}
		})
	}
	t.Run("disk", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "model.bin")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		set := faulttest.New(t)
		faulttest.Put(t, set, rule)
		disk := NewDisk(points(set))
		if got, err := disk.ReadFile(name); !bytes.Equal(got, want) || err != nil {
			t.Error("other bytes", err)
		}
		f, err := disk.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make([]byte, 50)
		if _, err := f.ReadAt(got, 80); !bytes.Equal(got, want[80:130]) || err != nil {
			t.Error(got, err)
		}
		if _, err := f.Seek(1100, io.SeekStart); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(f, got); !bytes.Equal(got, want[1100:1150]) || err != nil {
			t.Error(got, err)
		}
	})
}

func TestTruncatedFileIsSmallerHoweverItIsRead(t *testing.T) {
	const after = 1000
	for name, inner := range trees(t) {
		t.Run(name, func(t *testing.T) {
			set := faulttest.New(t)
			faulttest.Put(t, set, fault.Rule{Point: "f.open", Truncate: &fault.Truncate{After: after}})
			f, err := FS(inner, points(set)).Open("model.bin")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if info, err := f.Stat(); err != nil || info.Size() != after {
				t.Error(info.Size(), err)
			}
			if got, err := io.ReadAll(f); !bytes.Equal(got, content[:after]) || err != nil {
				t.Error(len(got), err)
			}
			if at, err := f.(io.Seeker).Seek(-10, io.SeekEnd); at != after-10 || err != nil {
				t.Error(at, err)
			}
			if got, err := io.ReadAll(f); len(got) != 10 || err != nil {
				t.Error(len(got), err)
			}
			if n, err := f.(io.ReaderAt).ReadAt(make([]byte, 20), after-5); n != 5 || err != io.EOF {
				t.Error(n, err)
			}
		})
	}
}

func TestReadHangsUntilTheRuleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		fsys := FS(trees(t)["memory"], points(set))
		faulttest.Put(t, set, fault.Rule{Point: "f.read", For: time.Minute, Hang: &fault.Hang{}})
		began := time.Now()
		if got, err := fs.ReadFile(fsys, "model.bin"); err != nil || len(got) != len(content) || time.Since(began) != time.Minute {
			t.Error(len(got), err, time.Since(began))
		}
	})
}

func TestFSSurvivesPanics(t *testing.T) {
	set := faulttest.New(t)
	fsys := FS(trees(t)["os"], points(set))
	for _, point := range []string{"f.open", "f.read", "f.close"} {
		faulttest.Put(t, set, fault.Rule{Point: point, Count: 1, Panic: &fault.Panicking{}})
		if !faulttest.Panics(t, func() { _, _ = fs.ReadFile(fsys, "model.bin") }) {
			t.Error(point, "does not panic")
		}
		if got, err := fs.ReadFile(fsys, "model.bin"); err != nil || len(got) != len(content) {
			t.Error(point, len(got), err)
		}
	}
}

// FuzzDamagedFileIsOneFile reads a damaged file in pieces, in any order and by all ways: it is always the same file.
func FuzzDamagedFileIsOneFile(f *testing.F) {
	f.Add(int64(100), int64(1024), int64(4096), true, []byte{0, 10, 1, 200, 2, 7})
	f.Add(int64(0), int64(1), int64(0), false, []byte{2, 0, 0, 255, 3, 9})
	f.Add(int64(1<<62), int64(1<<62), int64(17), true, []byte{1, 1})
	f.Add(int64(1<<62), int64(1<<62), int64(43), true, []byte("00200000")) // the file beneath was read past the cut
	f.Fuzz(func(t *testing.T, offset, length, cut int64, zero bool, script []byte) {
		if offset < 0 || length <= 0 || cut < 0 {
			return
		}
		mode := fault.Flipped
		if zero {
			mode = fault.Zeroed
		}
		set := faulttest.New(t)
		faulttest.Put(t, set, fault.Rule{Point: "f.open", Corrupt: &fault.Corrupt{Offset: &offset, Length: length, Mode: mode}})
		faulttest.Put(t, set, fault.Rule{ID: "cut", Point: "f.open", Truncate: &fault.Truncate{After: cut}})
		want := slices.Clone(content)
		for i := range want {
			if at := int64(i); at >= offset && at-offset < length {
				want[i] = ^want[i]
				if zero {
					want[i] = 0
				}
			}
		}
		want = want[:min(cut, int64(len(want)))]
		inner := fstest.MapFS{"x": {Data: content}}
		file, err := FS(inner, points(set)).Open("x")
		if err != nil {
			t.Fatal(err)
		}
		same(t, file.(interface {
			io.ReadSeeker
			io.ReaderAt
		}), want, script)
	})
}

func same(t *testing.T, got interface {
	io.ReadSeeker
	io.ReaderAt
}, want []byte, script []byte) {
	oracle := bytes.NewReader(want)
	for ; len(script) >= 2; script = script[2:] {
		n := int(script[1]) * 16
		a, b := make([]byte, n), make([]byte, n)
		switch script[0] % 3 {
		case 0:
			na, ea := io.ReadFull(got, a)
			nb, eb := io.ReadFull(oracle, b)
			if !bytes.Equal(a[:na], b[:nb]) || ea != eb {
				t.Fatalf("read %d: %d %v, not %d %v", n, na, ea, nb, eb)
			}
		case 1:
			na, _ := got.ReadAt(a, int64(n))
			nb, _ := oracle.ReadAt(b, int64(n))
			if !bytes.Equal(a[:na], b[:nb]) {
				t.Fatalf("read at %d: %d, not %d", n, na, nb)
			}
		case 2:
			whence := int(script[0]/3) % 3
			move := int64(n)
			if whence == io.SeekEnd {
				move = -min(move, int64(len(want)))
			}
			if whence == io.SeekCurrent {
				move = 1
			}
			pa, ea := got.Seek(move, whence)
			pb, eb := oracle.Seek(move, whence)
			if ea == nil && eb == nil && pa != pb {
				t.Fatalf("seek %d %d: %d, not %d", move, whence, pa, pb)
			}
			if (ea == nil) != (eb == nil) { // a map file does not go past its end
				return
			}
		}
	}
}

func BenchmarkOff(b *testing.B) {
	set := faulttest.New(b)
	buf := make([]byte, 64)
	for name, fsys := range map[string]fs.FS{"bare": fstest.MapFS{"x": {Data: content}}, "points": FS(fstest.MapFS{"x": {Data: content}}, points(set))} {
		f, err := fsys.Open("x")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = f.(io.ReaderAt).ReadAt(buf, 0)
			}
		})
	}
}

func TestFileThatIsOffAllocatesNothing(t *testing.T) {
	f, err := FS(fstest.MapFS{"x": {Data: content}}, points(faulttest.New(t))).Open("x")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() { _, _ = f.(io.ReaderAt).ReadAt(b, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
