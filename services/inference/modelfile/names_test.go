package modelfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamedTellsWhoNamedTheFeatures: names that a library makes up are not the model's.
func TestNamedTellsWhoNamedTheFeatures(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*")
	if err != nil {
		t.Fatal(err)
	}
	named, unnamed := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Parse(file, data)
		if err != nil {
			continue // an unsupported fixture, or rows
		}
		madeUp := strings.HasPrefix(e.Features[0], "Column_0") || e.Features[0] == "f0"
		if e.Named == madeUp {
			t.Errorf("%s: Named is %v, the first feature is %q", file, e.Named, e.Features[0])
		}
		if e.Named {
			named++
		} else {
			unnamed++
		}
	}
	if named == 0 || unnamed == 0 {
		t.Errorf("%d fixtures with names, %d without: both kinds are needed", named, unnamed)
	}
}
