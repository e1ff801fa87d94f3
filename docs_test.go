package dougong

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPagesNameTestsThatExist: a guarantee whose test was renamed or removed is none.
func TestPagesNameTestsThatExist(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	exists := map[string]bool{}
	pages := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if file == "bench/peers" || file != "." && strings.HasPrefix(entry.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		isTest, isPage := strings.HasSuffix(file, "_test.go"), strings.HasSuffix(file, ".md")
		if !isTest && !isPage {
			return nil
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if isPage {
			pages[file] = string(data)
			return nil
		}
		for _, match := range declared.FindAllStringSubmatch(string(data), -1) {
			exists[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for file, text := range pages {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			found++
			if !exists[match[1]] {
				t.Errorf("%s names %s, which does not exist", file, match[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d tests are named: does the pattern still fit?", found)
	}
}
