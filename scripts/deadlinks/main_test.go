package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDeadLinks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.md": "# Überblick & Teile\n## Two words\n[ok](b.md) [ok](b.md#part-one) [ok](#two-words) [ok](#überblick--teile) [ok](https://example.com/x) [ok](sub)\n" +
			"[dead](gone.md) [dead](b.md#part-two) [dead](#nowhere) `[code](gone2.md)`\n```\n[fenced](gone3.md)\n```\n",
		"b.md":     "# Part one\n```\n# Part two\n```\n",
		"sub/c.md": "[ok](../a.md) [dead](a.md)\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := deadLinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a.md: gone.md: no such file", "a.md: b.md#part-two: no such heading in b.md", "a.md: #nowhere: no such heading in a.md", "sub/c.md: a.md: no such file"}
	if len(dead) != len(want) {
		t.Fatalf("found %q", dead)
	}
	for i := range want {
		if !strings.HasSuffix(dead[i], want[i]) {
			t.Errorf("%q, want …%q", dead[i], want[i])
		}
	}
}
