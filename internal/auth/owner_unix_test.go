//go:build unix

package auth

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAppendKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real", "tokens.json"), filepath.Join(dir, "tokens.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	_, a, _ := Create("a", "", Read)
	if err := AppendTo(link, a); err == nil || !strings.Contains(err.Error(), "a link to a file that does not exist") {
		t.Errorf("a link to nothing: %v", err)
	}
	os.Mkdir(filepath.Dir(path), 0o700)
	if err := AppendTo(path, a); err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o640)
	root := os.Getuid() == 0
	if root {
		if err := os.Chown(path, 12345, 23456); err != nil {
			t.Fatal(err)
		}
	}
	_, b, _ := Create("b", "", Read)
	if err := AppendTo(link, b); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", st.Mode(), err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o640 {
		t.Errorf("mode %o, want 640", st.Mode().Perm())
	}
	if owner := st.Sys().(*syscall.Stat_t); root && (owner.Uid != 12345 || owner.Gid != 23456) {
		t.Errorf("owner %d:%d, want 12345:23456", owner.Uid, owner.Gid)
	}
	if tokens, err := Load(link); err != nil || tokens.Len() != 2 {
		t.Errorf("loaded %v, %v", tokens, err)
	}
}
