package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	defaultMaxBytes = 1 << 20
	maxDepth        = 64
)

// parse reads one YAML document. The root is nil for an empty file. A file that is not
// YAML gives the first fault only: nothing after it can be trusted.
func parse(data []byte, maxBytes int) (root *yaml.Node, faults Errors) {
	if len(data) > maxBytes {
		return nil, Errors{{Msg: fmt.Sprintf("%d bytes are too many; at most %s are read", len(data), formatSize(uint64(maxBytes), false))}}
	}
	if faults := vetEncoding(data); faults != nil {
		return nil, faults
	}
	docs, err := documents(data)
	if err != nil {
		return nil, Errors{syntaxFault(data, err)}
	}
	if len(docs) == 0 {
		return nil, nil
	}
	if len(docs) > 1 {
		second := docs[1]
		faults = append(faults, &Error{Line: second.Line, Column: second.Column, Msg: `a second document (after "---"); one file holds one document`})
	}
	root = docs[0].Content[0]
	if isNull(root) {
		root = nil
	}
	return root, faults
}

// vetEncoding reports each line that is not UTF-8.
func vetEncoding(data []byte) (faults Errors) {
	if utf8.Valid(data) {
		return nil
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if utf8.Valid(text) || len(faults) == maxFaults {
			continue
		}
		column := 1
		for len(text) > 0 {
			r, size := utf8.DecodeRune(text)
			if r == utf8.RuneError && size == 1 {
				break
			}
			text, column = text[size:], column+1
		}
		faults = append(faults, &Error{Line: line, Column: column, Msg: "not UTF-8; save the file in UTF-8"})
	}
	return faults
}

// documents reads at most two documents: the second is only looked for to be refused.
func documents(data []byte) (docs []*yaml.Node, err error) {
	defer func() {
		// The library panics on states that it believes impossible; a file must not end
		// the process.
		if p := recover(); p != nil {
			err = errors.New("yaml: this cannot be read")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for len(docs) < 2 {
		var n yaml.Node
		if err := dec.Decode(&n); err != nil {
			if err == io.EOF {
				return docs, nil
			}
			return nil, err
		}
		if len(n.Content) == 1 {
			docs = append(docs, &n)
		}
	}
	return docs, nil
}

var (
	linePrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)
	// The library quotes the name; a secret may begin with an asterisk.
	unknownAnchor = regexp.MustCompile(`^unknown anchor `)
)

// syntaxFault finds the line of a syntax error itself: the library names the line where
// the enclosing block began, counts it from 0 or 1, or names none. The line wanted is the
// last of the shortest run of lines that fails in the same way.
func syntaxFault(data []byte, err error) *Error {
	text := func(err error) string { return linePrefix.ReplaceAllString(err.Error(), "") }
	msg := text(err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	size := 0
	ends := make([]int, len(lines))
	for i, l := range lines {
		size += len(l)
		ends[i] = size
	}
	i := sort.Search(len(lines)-1, func(i int) bool {
		_, err := documents(data[:ends[i]])
		return err != nil && text(err) == msg
	})
	indent := len(lines[i]) - len(bytes.TrimLeft(lines[i], " \t"))
	e := &Error{Line: i + 1, Column: indent + 1}
	switch {
	case bytes.IndexByte(lines[i][:indent], '\t') >= 0:
		e.Column = bytes.IndexByte(lines[i], '\t') + 1
		e.Msg = "a tab in the indentation; indent with spaces"
	case unknownAnchor.MatchString(msg):
		e.Msg = aliasRefused
	case strings.HasPrefix(msg, "found character that cannot start any token"):
		e.Msg = "a value cannot start with this character; quote the value"
	case strings.HasPrefix(msg, "mapping values are not allowed"):
		e.Msg = `a second ": " on the line or wrong indentation; quote a value that holds ": "`
	default:
		e.Msg = "not YAML: " + strings.ReplaceAll(msg, "\n", " ")
	}
	return e
}

const (
	aliasRefused  = "anchors and aliases (&name, *name) are refused; write the value out, or quote it if it is text"
	mergeRefused  = "merge keys (<<) are refused; write the keys out"
	taggedRefused = "tags (such as !!str) are refused; quote the value if it is text"
)

// vet refuses what YAML has and configuration does not need. It sees the whole tree, also
// below unknown keys.
func vet(n *yaml.Node, path string, depth int, report func(n *yaml.Node, path, msg string)) {
	switch {
	case depth > maxDepth:
		report(n, "", fmt.Sprintf("nested deeper than %d levels", maxDepth))
		return
	case n.Kind == yaml.AliasNode:
		report(n, path, aliasRefused)
		return
	case n.Anchor != "":
		report(n, path, aliasRefused)
	case n.Style&yaml.TaggedStyle != 0:
		report(n, path, taggedRefused)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, c := range n.Content {
			vet(c, index(path, i), depth+1, report)
		}
	case yaml.MappingNode:
		first := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, val := n.Content[i], n.Content[i+1]
			at := join(path, segment(key.Value))
			switch {
			case key.Kind == yaml.AliasNode || key.Anchor != "":
				report(key, path, aliasRefused)
			case key.Kind != yaml.ScalarNode:
				report(key, path, "a key must be one word, not a list or a section")
			case key.Style&yaml.TaggedStyle != 0:
				report(key, path, taggedRefused)
			case isMerge(key):
				report(key, path, mergeRefused)
			case isNull(key):
				report(key, path, "a key without a name")
			case first[key.Value] > 0:
				report(key, at, fmt.Sprintf("key given twice; first in line %d", first[key.Value]))
			default:
				first[key.Value] = key.Line
			}
			vet(val, at, depth+1, report)
		}
	}
}

func isNull(n *yaml.Node) bool  { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
func isMerge(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!merge" }

// refused says whether vet has reported the node itself, so that decoding need not.
func refused(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0
}

// entries are the usable keys of a mapping, each name once.
func entries(n *yaml.Node, yield func(key, val *yaml.Node)) {
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || refused(key) || isMerge(key) || isNull(key) || seen[key.Value] {
			continue
		}
		seen[key.Value] = true
		yield(key, val)
	}
}
