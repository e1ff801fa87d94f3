// Command deadlinks finds links in Markdown files that lead to no file or heading of the tree.
// Links to other sites are not followed: a check must not depend on the network.
package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deadlinks FOLDER")
		os.Exit(2)
	}
	dead, err := deadLinks(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "deadlinks:", err)
		os.Exit(2)
	}
	for _, d := range dead {
		fmt.Println(d)
	}
	if len(dead) > 0 {
		os.Exit(1)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
	code    = regexp.MustCompile("`[^`\n]*`")
)

func deadLinks(root string) (dead []string, err error) {
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || entry.Name() == "peers") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(file) != ".md" {
			return nil
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		prose := code.ReplaceAllString(fence.ReplaceAllString(string(data), ""), "")
		for _, match := range link.FindAllStringSubmatch(prose, -1) {
			if why := follow(file, match[1]); why != "" {
				dead = append(dead, fmt.Sprintf("%s: %s: %s", file, match[1], why))
			}
		}
		return nil
	})
	return dead, err
}

// follow returns why a link in a file is dead, or nothing.
func follow(file, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return ""
	}
	if u.Path != "" {
		file = filepath.Join(filepath.Dir(file), filepath.FromSlash(u.Path))
	}
	data, err := os.ReadFile(file)
	if info, statErr := os.Stat(file); statErr != nil {
		return "no such file"
	} else if info.IsDir() || u.Fragment == "" {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(string(data), ""), -1) {
		if anchor(match[1]) == strings.ToLower(u.Fragment) {
			return ""
		}
	}
	return "no such heading in " + path.Base(file)
}

// anchor makes a heading's fragment as the common Markdown hosts do.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r > 127 && r != '—' && r != '–' && r != '·':
			b.WriteRune(r)
		}
	}
	return b.String()
}
