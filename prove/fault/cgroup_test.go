package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestGroupsAreRemovedInnermostFirst(t *testing.T) {
	group := filepath.Join(t.TempDir(), groupName("a", 0))
	for _, below := range []string{"one/two/three", "one/four", "five"} {
		if err := os.MkdirAll(filepath.Join(group, below), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if removed, err := removeCgroup(ctx, group, filepath.Dir(group)); !removed || err != nil {
		t.Errorf("removed: %v, %v", removed, err)
	}
	if _, err := os.Stat(group); !errors.Is(err, os.ErrNotExist) {
		t.Error("it is there still:", err)
	}
	if removed, err := removeCgroup(ctx, group, filepath.Dir(group)); removed || err != nil {
		t.Errorf("one that is gone: %v, %v", removed, err)
	}
}

// TestFolderThatIsNoGroupIsLeft: it would never become empty, so nothing is waited for.
func TestFolderThatIsNoGroupIsLeft(t *testing.T) {
	group := filepath.Join(t.TempDir(), groupName("a", 0))
	if err := os.MkdirAll(filepath.Join(group, "one", "two"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(group, "one", "letter")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	removed, err := removeCgroup(ctx, group, filepath.Dir(group))
	if removed || !errors.Is(err, syscall.ENOTEMPTY) || !strings.HasPrefix(err.Error(), "one below it: it holds files") || ctx.Err() != nil {
		t.Errorf("removed: %v, %v", removed, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
