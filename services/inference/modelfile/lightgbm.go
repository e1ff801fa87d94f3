package modelfile

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// lightGBM reads one text model line by line. The format is that of GBDT::SaveModelToString
// (src/boosting/gbdt_model_text.cpp) and Tree::ToString (src/io/tree.cpp) in LightGBM's source.
type lightGBM struct {
	data    []byte
	at      int // the next line
	number  int // of the line that next returned last, from 1
	scratch shapeScratch
}

// line is one line without its end; offset is that of its first byte.
type line struct {
	text   []byte
	offset int
	number int
}

// field is the right side of a key=value line.
type field struct {
	line
	given bool
}

func parseLightGBM(data []byte) (*tree.Ensemble, error) {
	l := &lightGBM{data: data}
	e := &tree.Ensemble{Format: "lightgbm-text", Precision: tree.Float64, SigmoidScale: 1}
	err := l.parse(e)
	if err == nil {
		return e, nil
	}
	if e, ok := err.(*Error); ok && e.Line == 0 {
		e.Line = 1 + bytes.Count(data[:min(e.Offset, len(data))], []byte("\n"))
	}
	return nil, err
}

func (l *lightGBM) next() (line, bool) {
	if l.at >= len(l.data) {
		return line{offset: len(l.data), number: l.number}, false
	}
	l.number++
	found := line{offset: l.at, number: l.number}
	if n := bytes.IndexByte(l.data[l.at:], '\n'); n >= 0 {
		found.text = l.data[l.at : l.at+n]
		l.at += n + 1
	} else {
		found.text = l.data[l.at:]
		l.at = len(l.data)
	}
	return found, true
}

// Header lines, as indices into headerKeys.
const (
	version = iota
	numClass
	numTreePerIteration
	labelIndex
	maxFeatureIndex
	objective
	averageOutput
	featureNames
	featureInfos
	treeSizes
	monotoneConstraints // bind training only
	headers
)

var headerKeys = [headers]string{
	"version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
	"average_output", "feature_names", "feature_infos", "tree_sizes", "monotone_constraints",
}

func (l *lightGBM) parse(e *tree.Ensemble) error {
	l.next() // "tree", which parse has seen
	var h [headers]field
	first, err := l.fields(headerKeys[:], h[:], func(text []byte) bool {
		return bytes.HasPrefix(text, []byte("Tree=")) || bytes.Equal(text, []byte("end of trees"))
	})
	if err != nil {
		return err
	}
	for _, i := range [...]int{version, numClass, maxFeatureIndex, featureNames, featureInfos} {
		if !h[i].given {
			return damaged(first.offset, "%s is missing", headerKeys[i])
		}
	}
	switch e.Library = string(h[version].text); e.Library {
	case "v2", "v3", "v4":
	default:
		return unsupported(h[version].offset, "text format %q; known are v2, v3 and v4", excerpt(e.Library))
	}
	if h[averageOutput].given {
		return unsupported(h[averageOutput].offset, "random forests (average_output) are not supported")
	}
	if err := l.objective(h[:], first, e); err != nil {
		return err
	}
	if err := l.features(h[:], e); err != nil {
		return err
	}
	if err := l.trees(first, h[treeSizes], e); err != nil {
		return err
	}
	if len(e.Trees) == 0 {
		return unsupported(first.offset, "a model without trees")
	}
	if len(e.Trees)%e.Outputs != 0 {
		return damaged(l.at, "%d trees are no multiple of %d outputs", len(e.Trees), e.Outputs)
	}
	for i := range e.Trees {
		e.Trees[i].Output = i % e.Outputs
	}
	// The starting score is part of the first trees.
	e.Base = make([]float64, e.Outputs)
	return l.trailer()
}

// fields reads key=value lines up to one that stop accepts, which it returns. Empty lines are
// passed over; an unknown key is refused, because it might change a score.
func (l *lightGBM) fields(keys []string, found []field, stop func([]byte) bool) (line, error) {
	for {
		current, ok := l.next()
		if !ok {
			return current, damaged(current.offset, "the file ends too early")
		}
		if stop(current.text) {
			return current, nil
		}
		if len(current.text) == 0 {
			continue
		}
		key, rest, _ := bytes.Cut(current.text, []byte("="))
		i := 0
		for i < len(keys) && keys[i] != string(key) {
			i++
		}
		if i == len(keys) {
			return current, unsupported(current.offset, "unknown key %q", excerpt(key))
		}
		if found[i].given {
			return current, damaged(current.offset, "key %q occurs twice", key)
		}
		start := current.offset + len(current.text) - len(rest)
		found[i] = field{line{rest, start, current.number}, true}
	}
}

func (l *lightGBM) objective(h []field, first line, e *tree.Ensemble) error {
	classes, err := h[numClass].integer(1, math.MaxInt32)
	if err != nil {
		return err
	}
	perIteration := classes
	if h[numTreePerIteration].given {
		if perIteration, err = h[numTreePerIteration].integer(1, math.MaxInt32); err != nil {
			return err
		}
	}
	given := h[objective]
	if !given.given {
		return unsupported(first.offset, "a model without an objective")
	}
	e.Objective = string(given.text)
	name, parameters, _ := strings.Cut(e.Objective, " ")
	e.Outputs = 1
	switch {
	case name == "regression" && parameters == "":
		e.Transform = tree.Identity
	case name == "binary":
		e.Transform = tree.Sigmoid
		scale, ok := strings.CutPrefix(parameters, "sigmoid:")
		if !ok {
			return unsupported(given.offset, "objective %q is not supported", excerpt(e.Objective))
		}
		if e.SigmoidScale, err = parseDouble([]byte(scale)); err != nil || e.SigmoidScale <= 0 {
			return damaged(given.offset, "sigmoid %q is not a positive number", excerpt(scale))
		}
	case name == "multiclass":
		e.Transform = tree.Softmax
		count, ok := strings.CutPrefix(parameters, "num_class:")
		if !ok {
			return unsupported(given.offset, "objective %q is not supported", excerpt(e.Objective))
		}
		if n, err := strconv.Atoi(count); err != nil || n != classes || n < 2 {
			return damaged(given.offset, "objective %q, but num_class is %d", excerpt(e.Objective), classes)
		}
		e.Outputs = classes
	default:
		return unsupported(given.offset, "objective %q is not supported", excerpt(e.Objective))
	}
	e.Objective = name
	if classes != e.Outputs || perIteration != e.Outputs {
		return damaged(h[numClass].offset, "objective %s with %d classes and %d trees an iteration", name, classes, perIteration)
	}
	return nil
}

func (l *lightGBM) features(h []field, e *tree.Ensemble) error {
	last, err := h[maxFeatureIndex].integer(0, math.MaxInt32-1)
	if err != nil {
		return err
	}
	for _, i := range [...]int{featureNames, featureInfos} {
		if n := h[i].count(); n != last+1 {
			return damaged(h[i].offset, "%s has %d entries, max_feature_idx is %d", headerKeys[i], n, last)
		}
	}
	e.Features = make([]string, 0, last+1)
	words := h[featureNames].words()
	for {
		word, _, ok := words.next()
		if !ok {
			return checkNames(e.Features, h[featureNames].offset)
		}
		// LightGBM makes up Column_0, Column_1, … for data without names.
		e.Named = e.Named || string(word) != "Column_"+strconv.Itoa(len(e.Features))
		e.Features = append(e.Features, string(word))
	}
}

// trees reads from the line "Tree=0" to the line "end of trees". The sizes in the header, which
// LightGBM uses to find the trees, must lead to the same places.
func (l *lightGBM) trees(current line, sizes field, e *tree.Ensemble) error {
	var words words
	if sizes.given {
		words = sizes.words()
	}
	expected := current.offset
	for bytes.HasPrefix(current.text, []byte("Tree=")) {
		index, err := strconv.Atoi(string(current.text[len("Tree="):]))
		if err != nil || index != len(e.Trees) {
			return damaged(current.offset, "%q where tree %d belongs", excerpt(current.text), len(e.Trees))
		}
		if sizes.given {
			word, offset, ok := words.next()
			size, err := strconv.Atoi(string(word))
			if !ok || err != nil || size <= 0 || size > len(l.data) {
				return damaged(offset, "tree_sizes has no size of tree %d", index)
			}
			if current.offset != expected {
				return damaged(current.offset, "tree %d begins here, by tree_sizes it begins at byte %d", index, expected)
			}
			expected += size
		}
		var nodes []tree.Node
		path := string(current.text)
		if nodes, current, err = l.tree(len(e.Features)); err != nil {
			return within(path, err)
		}
		e.Trees = append(e.Trees, tree.Tree{Nodes: nodes})
	}
	if sizes.given {
		if _, offset, more := words.next(); more {
			return damaged(offset, "tree_sizes has more than %d sizes", len(e.Trees))
		}
		if current.offset != expected {
			return damaged(current.offset, "the trees end here, by tree_sizes at byte %d", expected)
		}
	}
	return nil
}

// trailer checks that the sections after the trees are complete; a score needs none of them.
func (l *lightGBM) trailer() error {
	importances := false
	end := "" // of the section that is being read
	for {
		current, ok := l.next()
		if !ok {
			break
		}
		switch text := string(current.text); {
		case end != "":
			if text == end {
				end = ""
			}
		case text == "feature_importances:" || text == "feature importances:": // the latter until version 2
			importances = true
		case text == "parameters:":
			end = "end of parameters"
		case text == "parser:":
			end = "end of parser"
		case text == "", importances && strings.Contains(text, "="), strings.HasPrefix(text, "pandas_categorical:"):
		default:
			return unsupported(current.offset, "unknown section %q", excerpt(text))
		}
	}
	if end != "" {
		return damaged(len(l.data), "the line %q is missing", end)
	}
	if !importances {
		return damaged(len(l.data), "the section feature_importances is missing")
	}
	return nil
}
