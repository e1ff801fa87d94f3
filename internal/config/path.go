package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// join appends a key or an index to a path. A path of a section and a path relative to it
// are joined by it too.
func join(path, key string) string {
	if path == "" || strings.HasPrefix(key, "[") {
		return path + key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// segment is how a key from the file is shown in a path: as it is, or in brackets and
// quotes if it would be misread or would break the line.
func segment(key string) string {
	odd := func(r rune) bool {
		return r <= ' ' || r == ':' || r == '[' || r == ']' || r == '"' || !strconv.IsPrint(r)
	}
	if key == "" || strings.ContainsFunc(key, odd) {
		return "[" + quote(key) + "]"
	}
	return shorten(key)
}

// quote shows a value in a message, on one line, not too long.
func quote(s string) string { return strconv.Quote(shorten(s)) }

func shorten(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// within says whether path is parent or lies below it.
func within(path, parent string) bool {
	if parent == "" || path == parent {
		return true
	}
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (rest[0] == '.' || rest[0] == '[')
}

// locate finds the key (or the list element) of a path in a file's tree, or nil. Keys of a
// map may hold dots themselves, therefore each key that fits is tried.
func locate(n *yaml.Node, path string) *yaml.Node {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, val := n.Content[i], n.Content[i+1]
			rest, ok := strings.CutPrefix(path, key.Value)
			if !ok || key.Value == "" {
				rest, ok = strings.CutPrefix(path, segment(key.Value))
			}
			switch {
			case !ok:
			case rest == "":
				return key
			case rest[0] == '.':
				rest = rest[1:]
				fallthrough
			case rest[0] == '[':
				if found := locate(val, rest); found != nil {
					return found
				}
			}
		}
	case yaml.SequenceNode:
		var i int
		if _, err := fmt.Sscanf(path, "[%d]", &i); err != nil || i < 0 || i >= len(n.Content) {
			return nil
		}
		rest := path[strings.IndexByte(path, ']')+1:]
		if rest == "" {
			return n.Content[i]
		}
		return locate(n.Content[i], strings.TrimPrefix(rest, "."))
	}
	return nil
}
