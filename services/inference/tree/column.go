package tree

import (
	"encoding/binary"
	"math"
	"slices"
)

// column is a feature as the kernels see it: together with one rule for its missing values, so that a
// value has one key. The key is reduced to its rank, the number of the column's thresholds that it
// reaches, and a node is "rank > position".
type column[K key] struct {
	feature    int32
	rule       missingRule
	missing    K        // key of a missing value
	thresholds []K      // ascending, distinct
	categories []uint32 // rule category: the keys are 0 for members and 1, the threshold, for others
}

// missingRule is what Node.Missing and Node.DefaultLeft say together.
type missingRule uint8

const (
	nanLeft missingRule = iota
	nanRight
	nanIsZero
	zeroLeft
	zeroRight
	category
)

func ruleOf(n *Node) missingRule {
	switch {
	case n.Split == Category:
		return category
	case n.Missing == MissingNone:
		return nanIsZero
	case n.Missing == MissingZero && n.DefaultLeft:
		return zeroLeft
	case n.Missing == MissingZero:
		return zeroRight
	case n.DefaultLeft:
		return nanLeft
	default:
		return nanRight
	}
}

// key is x as this column compares it.
func (c *column[K]) key(x float64) K {
	if c.rule > nanIsZero {
		return c.rareKey(x)
	}
	if x != x {
		return c.missing
	}
	return keyOf[K](x)
}

func (c *column[K]) rareKey(x float64) K {
	if isNarrow[K]() {
		x = float64(float32(x))
	}
	switch {
	case c.rule != category && (x != x || math.Abs(x) <= zeroThreshold):
		return c.missing
	case c.rule != category:
		return keyOf[K](x)
	case inCategories(c.categories, x):
		return 0
	default:
		return 1
	}
}

// keys fills keys with those of a block's rows, which are features values each; where rows end, keys
// are left as they are.
func (c *column[K]) keys(keys []K, rows []float64, features int) {
	keys = keys[:min(len(keys), len(rows)/features)]
	at := int(c.feature)
	if c.rule > nanIsZero {
		for i := range keys {
			keys[i] = c.rareKey(rows[at])
			at += features
		}
		return
	}
	missing := c.missing
	for i := range keys {
		x := rows[at]
		at += features
		if k := keyOf[K](x); x == x {
			keys[i] = k
		} else {
			keys[i] = missing
		}
	}
}

// split is an inner node after compilation: it sends a row to the right if the rank in its column is
// greater than position.
type split struct {
	column   uint32
	position uint32
}

// columnSet collects the columns of an ensemble.
type columnSet[K key] struct {
	columns []column[K]
	index   map[columnName]uint32
}

// columnName tells columns apart.
type columnName struct {
	feature    int32
	rule       missingRule
	categories string // their words, as bytes
}

// columnsOf builds the columns of a valid ensemble, and the split of each inner node by tree and node.
func columnsOf[K key](e *Ensemble) ([]column[K], [][]split) {
	set := columnSet[K]{index: map[columnName]uint32{}}
	splits := make([][]split, len(e.Trees))
	for t := range e.Trees {
		nodes := e.Trees[t].Nodes
		splits[t] = make([]split, len(nodes))
		for _, i := range reachable(nodes) {
			if nodes[i].Split != Leaf {
				splits[t][i].column = set.add(&nodes[i])
			}
		}
	}
	for i := range set.columns {
		c := &set.columns[i]
		slices.Sort(c.thresholds)
		c.thresholds = slices.Clip(slices.Compact(c.thresholds))
	}
	for t := range e.Trees {
		nodes := e.Trees[t].Nodes
		for _, i := range reachable(nodes) {
			if n := &nodes[i]; n.Split != Leaf {
				s := &splits[t][i]
				at, _ := slices.BinarySearch(set.columns[s.column].thresholds, thresholdOf[K](n))
				s.position = uint32(at)
			}
		}
	}
	return set.columns, splits
}

// add answers the column that a node reads, with the node's threshold in it.
func (s *columnSet[K]) add(n *Node) uint32 {
	name := columnName{feature: n.Feature, rule: ruleOf(n)}
	if name.rule == category {
		var words []byte
		for _, w := range n.Categories {
			words = binary.NativeEndian.AppendUint32(words, w)
		}
		name.categories = string(words)
	}
	if i, ok := s.index[name]; ok {
		if c := &s.columns[i]; name.rule != category {
			c.thresholds = append(c.thresholds, thresholdOf[K](n))
		}
		return i
	}
	i := uint32(len(s.columns))
	s.index[name] = i
	c := column[K]{
		feature: n.Feature, rule: name.rule,
		thresholds: []K{thresholdOf[K](n)}, categories: slices.Clone(n.Categories),
	}
	switch name.rule {
	case nanRight, zeroRight:
		c.missing = ^K(0)
	case nanIsZero:
		c.missing = keyOf[K](0)
	}
	s.columns = append(s.columns, c)
	return i
}

// thresholdOf is the smallest key that a node sends to the right.
func thresholdOf[K key](n *Node) K {
	switch n.Split {
	case Category:
		return 1
	case LessEqual:
		return keyOf[K](n.Threshold) + 1
	default:
		return keyOf[K](n.Threshold)
	}
}

// reachable lists the nodes that a path from the root reaches, parents before their children.
func reachable(nodes []Node) []int32 {
	list := []int32{0}
	for i := 0; i < len(list); i++ {
		if n := &nodes[list[i]]; n.Split != Leaf {
			list = append(list, n.Left, n.Right)
		}
	}
	return list
}
