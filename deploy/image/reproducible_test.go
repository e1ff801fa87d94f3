package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoClones builds an image in each of two clones that differ in all that must not matter, and compares the bytes of
// everything that was written.
func twoClones(t *testing.T, repository string, ownCache bool) {
	dir := t.TempDir()
	var first map[string][]byte
	for i, clone := range []string{"a", "another place, deeper/with a longer name/b"} {
		source := filepath.Join(dir, clone)
		if err := git(dir, "clone", "-q", "--no-hardlinks", repository, source); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			t.Setenv("GOFLAGS", "-buildvcs=false")
			t.Setenv("GOAMD64", "v3")
			t.Setenv("CGO_ENABLED", "1")
			t.Setenv("TZ", "Asia/Shanghai")
			if ownCache {
				t.Setenv("GOCACHE", filepath.Join(dir, "cache"))
			}
		}
		out := filepath.Join(dir, clone+"-image")
		file := filepath.Join(out, "dougong-image.tar")
		code, stdout, stderr := commandLine(t, nil, "-source", source, "-platform", "linux/amd64", "-o", file)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		t.Logf("%s:\n%s", clone, stdout)
		written := map[string][]byte{}
		entries, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if written[e.Name()], err = os.ReadFile(filepath.Join(out, e.Name())); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(written[e.Name()], []byte(dir)) {
				t.Errorf("%s names the folder in which it was built", e.Name())
			}
		}
		if len(written) != 3 {
			t.Errorf("%d files were written", len(written))
		}
		for name, data := range first {
			if !bytes.Equal(written[name], data) {
				t.Errorf("%s differs between two clones", name)
			}
		}
		first = written
	}
}

func TestTwoClonesOfASmallProgramGiveOneImage(t *testing.T) {
	dir := t.TempDir()
	if err := smallRepository(dir); err != nil {
		t.Fatal(err)
	}
	twoClones(t, dir, false)
}

// TestTwoClonesGiveOneImage is about what is committed here. With DOUGONG_LONG=1 the second clone compiles everything
// anew.
func TestTwoClonesGiveOneImage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole binary twice")
	}
	twoClones(t, clonedRoot(t), os.Getenv("DOUGONG_LONG") != "")
}

func TestTimesAreTheCommitsOrSourceDateEpoch(t *testing.T) {
	p := small(t)
	for _, c := range []struct{ epoch, want string }{
		{"", "2026-01-02T03:04:05Z"},
		{"0", "1970-01-01T00:00:00Z"},
		{"1700000000", "2023-11-14T22:13:20Z"},
	} {
		created, err := creation([]string{"X=1", "SOURCE_DATE_EPOCH=" + c.epoch}, p.binary)
		if err != nil {
			t.Fatal(err)
		}
		p.created = created
		l := loadedFrom(t, written(t, p))
		if got := l.config.Config.Labels["org.opencontainers.image.created"]; got != c.want || !l.config.Created.Equal(created) || !l.files[0].head.ModTime.Equal(created) {
			t.Errorf("epoch %q: %s, %v, %v", c.epoch, got, l.config.Created, l.files[0].head.ModTime)
		}
		if !strings.Contains(string(l.documents[mediaSPDX]), `"created": "`+c.want+`"`) {
			t.Errorf("epoch %q: the bill of materials bears another time", c.epoch)
		}
	}
	for _, bad := range []string{"-1", "yesterday", "1.5", "8589934592"} {
		if _, err := creation([]string{"SOURCE_DATE_EPOCH=" + bad}, p.binary); err == nil {
			t.Errorf("SOURCE_DATE_EPOCH %q is taken", bad)
		}
	}
}
