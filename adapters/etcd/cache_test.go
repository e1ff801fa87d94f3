package etcd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var example = snapshot{Prefix: "/p/", Cluster: 1<<63 + 7, Heard: 9, Handled: 8, Values: []cached{
	{Key: "/p/a", Value: []byte(`{"x":1}`), Revision: 5}, {Key: "/p/b", Value: nil, Revision: 0},
}}

func encoded(t testing.TB, s snapshot) []byte {
	t.Helper()
	data, err := encodeCache(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCacheComesBackAsItWas(t *testing.T) {
	got, err := parseCache(encoded(t, example))
	if err != nil || !reflect.DeepEqual(got, example) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestNoFlippedBitOfACacheIsBelieved flips each bit, and cuts the file at each byte.
func TestNoFlippedBitOfACacheIsBelieved(t *testing.T) {
	data := encoded(t, example)
	for i := range data {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			if _, err := parseCache(bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped: believed", bit, i)
			}
		}
		if _, err := parseCache(data[:i]); err == nil {
			t.Fatalf("cut after %d bytes: believed", i)
		}
	}
}

func TestImpossibleCachesAreRefusedWithAReason(t *testing.T) {
	for want, s := range map[string]snapshot{
		"impossible revisions": {Heard: 1, Handled: 2},
		`impossible key "/q"`:  {Prefix: "/p/", Values: []cached{{Key: "/q", Revision: 1}}},
		`impossible key "/p/"`: {Prefix: "/p", Values: []cached{{Key: "/p/", Revision: 1}, {Key: "/p/", Revision: 2}}},
		"revision -1":          {Prefix: "/p", Values: []cached{{Key: "/p/", Revision: -1}}},
	} {
		if _, err := parseCache(encoded(t, s)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
	future := bytes.Replace(encoded(t, example), []byte(" 1 "), []byte(" 2 "), 1)
	if _, err := parseCache(future); err == nil || err.Error() != "has version 2, this program reads version 1" {
		t.Errorf("a cache from the future: %v", err)
	}
}

func TestReadCacheNamesTheFileAndTheFault(t *testing.T) {
	c := DefaultConfig()
	c.Cache = filepath.Join(t.TempDir(), "cache")
	if s, err := (&points{}).readCache(t.Context(), c); err != nil || s.Values != nil {
		t.Errorf("no file: %+v, %v", s, err)
	}
	if err := writeFile(c.Cache, encoded(t, example), synced); err != nil {
		t.Fatal(err)
	}
	if _, err := (&points{}).readCache(t.Context(), c); !errors.Is(err, ErrCache) || !strings.Contains(err.Error(), c.Cache+": was made for the prefix /p/") {
		t.Errorf("another prefix: %v", err)
	}
	c.Prefix = "/p/"
	if s, err := (&points{}).readCache(t.Context(), c); err != nil || !reflect.DeepEqual(s, example) {
		t.Errorf("got %+v, %v", s, err)
	}
	c.MaxKeys, c.MaxValueBytes = 1, 1
	if err := os.Truncate(c.Cache, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := (&points{}).readCache(t.Context(), c); !errors.Is(err, ErrCache) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too long: %v", err)
	}
	if err := os.Remove(c.Cache); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.Cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := (&points{}).readCache(t.Context(), c); !errors.Is(err, ErrCache) {
		t.Errorf("a folder: %v", err)
	}
}

func TestWriteFileReplacesAndKeepsToItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	for _, text := range []string{"one", "two, longer", "3"} {
		if err := writeFile(path, []byte(text), synced); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + "?*"); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if err := writeFile(filepath.Join(path, "below a file"), nil, synced); err == nil {
		t.Error("want an error")
	}
}

func TestKeeperWritesTheNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	k := &keeper{path: path, latest: make(chan []byte, 1), report: func(err error) { t.Error(err) }}
	for i := range int64(100) { // nobody writes yet: save must not block
		k.save(snapshot{Heard: i})
	}
	close(k.latest)
	k.run(t.Context())
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := parseCache(data); err != nil || s.Heard != 99 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzCache(f *testing.F) {
	f.Add(encoded(f, example))
	f.Add(encoded(f, snapshot{}))
	f.Add([]byte("dougong-etcd-cache 1 00\n{}"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseCache(data)
		if err != nil {
			// As JSON with a checksum that fits, so that the fuzzer gets past it.
			s, err = parseCache(sealed(data))
		}
		if err != nil {
			return
		}
		again, err := parseCache(encoded(t, s))
		if err != nil || len(again.Values) != len(s.Values) || again.Handled != s.Handled || again.Cluster != s.Cluster {
			t.Errorf("%+v came back as %+v, %v", s, again, err)
		}
	})
}

// synced stands for a disk that does what it is told.
func synced() error { return nil }
