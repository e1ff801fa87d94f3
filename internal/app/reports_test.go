package app

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTwoReportsInOneFileAreRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Symlink("a.json", "link.json"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("a.json", []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	open := func(paths ...string) error {
		var wanted []pendingReport[int]
		for _, path := range paths {
			wanted = append(wanted, pendingReport[int]{path: path, write: func(io.Writer, int) error { return nil }})
		}
		rs, err := openReports(wanted)
		rs.discard()
		return err
	}
	for _, same := range [][]string{{"a.json", "a.json"}, {"b", "c", "./b"}, {"b", filepath.Join(here, "b")}, {"link.json", "a.json"}} {
		if err := open(same...); err == nil || !strings.Contains(err.Error(), "is named twice") {
			t.Errorf("%v: %v", same, err)
		}
	}
	for _, other := range [][]string{{"a.json", "", "b", ""}, {"b", "c"}, {os.DevNull, os.DevNull}} {
		if err := open(other...); err != nil {
			t.Errorf("%v: %v", other, err)
		}
	}
	if left, err := filepath.Glob(".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if kept, err := os.ReadFile("a.json"); string(kept) != "before" {
		t.Errorf("%q, %v", kept, err)
	}
}
