package modelfile

import (
	"fmt"
	"math"
	"strings"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// noParent is the parent of the root, and deletedFeature the split index that marks a node which
// pruning removed but left in the arrays.
const (
	noParent       = math.MaxInt32
	deletedFeature = math.MaxInt32
)

// Indices into treeFields.
const (
	// The columns that every version writes, one entry a node.
	leftChildren = iota
	rightChildren
	parents
	splitIndices
	splitConditions
	defaultLeft
	lossChanges
	sumHessian
	baseWeights
	columns
	splitType = iota - 1 // a column too, since 1.3
	treeParam
	treeID
	categories
	categoriesNodes
	categoriesSegments
	categoriesSizes
	leafWeights
	leafChildCounts // 1.0 and 1.1
)

// The columns are only required of trees with scalar leaves, which readTree finds out first.
var treeFields = []string{
	"left_children?", "right_children?", "parents?", "split_indices?", "split_conditions?",
	"default_left?", "loss_changes?", "sum_hessian?", "base_weights?",
	"split_type?", "tree_param", "id",
	"categories?", "categories_nodes?", "categories_segments?", "categories_sizes?",
	"leaf_weights?", "leaf_child_counts?",
}

func columnName(i int) string { return strings.TrimSuffix(treeFields[i], "?") }

func (x *xgboost) readTrees(v value, e *tree.Ensemble) error {
	_, err := x.elements(v, object, func(i int, element value) (int, error) {
		nodes, err := x.readTree(element, i)
		if err != nil {
			return 0, err
		}
		e.Trees = append(e.Trees, tree.Tree{Nodes: nodes})
		return x.skip(element)
	})
	return err
}

func (x *xgboost) readTree(v value, index int) ([]tree.Node, error) {
	f, err := x.fields(v, treeFields...)
	if err != nil {
		return nil, err
	}
	param, err := x.fields(f[treeParam], "num_nodes", "num_deleted?", "size_leaf_vector?", "num_feature?")
	if err != nil {
		return nil, within("tree_param", err)
	}
	if err := x.scalarLeaf(param[2]); err != nil {
		return nil, within("tree_param.size_leaf_vector", err)
	}
	if f[leafWeights].present() {
		return nil, unsupported(f[leafWeights].pos, "vector leaves (multi_strategy=multi_output_tree) are not supported")
	}
	for _, i := range [...]int{categories, categoriesNodes} {
		if !f[i].present() {
			continue
		}
		if n, err := length(x, f[i]); err != nil {
			return nil, err
		} else if n > 0 {
			return nil, unsupported(f[i].pos, "categorical splits are not supported")
		}
	}
	if id, err := x.param(f[treeID], 0, math.MaxInt32); err != nil {
		return nil, within("id", err)
	} else if id != index {
		return nil, damaged(f[treeID].pos, "the tree has the id %d", id)
	}
	n, err := x.param(param[0], 1, math.MaxInt32)
	if err != nil {
		return nil, within("tree_param.num_nodes", err)
	}
	// The columns bear the number out before anything is allocated for it.
	for i := range columns {
		if !f[i].present() {
			return nil, damaged(v.pos, "key %q is missing", columnName(i))
		}
		if err := x.checkLength(f[i], n); err != nil {
			return nil, within(columnName(i), err)
		}
	}
	nodes, removed, err := x.readNodes(f, n)
	if err != nil {
		return nil, err
	}
	if param[1].present() {
		stated, err := x.param(param[1], 0, n)
		if err == nil && stated != removed {
			err = damaged(param[1].pos, "%d nodes are marked as deleted, stated are %d", removed, stated)
		}
		if err != nil {
			return nil, within("tree_param.num_deleted", err)
		}
	}
	if removed > 0 {
		nodes = compact(nodes, x.scratch.visited, n-removed)
	}
	return nodes, nil
}

// readNodes walks the columns side by side and checks that they make a tree. It returns how many
// nodes are marked as deleted; all others are reached from the root.
func (x *xgboost) readNodes(f [maxFields]value, n int) (nodes []tree.Node, removed int, err error) {
	var c [columns + 1]columnReader
	for i := range c {
		c[i] = columnReader{x: x, name: columnName(i)}
		if i == splitType && !f[i].present() {
			continue
		}
		if x.kind(f[i]) != array {
			return nil, 0, within(columnName(i), damaged(f[i].pos, "not an array"))
		}
		if c[i].cursor, err = x.open(f[i]); err != nil {
			return nil, 0, err
		}
	}
	if f[splitType].present() {
		if err := x.checkLength(f[splitType], n); err != nil {
			return nil, 0, within("split_type", err)
		}
	}
	nodes = make([]tree.Node, n)
	for i := range nodes {
		node := &nodes[i]
		left, right := c[leftChildren].integer(), c[rightChildren].integer()
		feature := c[splitIndices].integer()
		condition := c[splitConditions].float()
		gain := c[lossChanges].float()
		c[sumHessian].float()
		c[baseWeights].float()
		onMissing := c[defaultLeft].flag()
		if f[splitType].present() {
			if t := c[splitType].integer(); t != 0 && c[splitType].err == nil {
				return nil, 0, unsupported(c[splitType].at, "node %d has split type %d: categorical splits are not supported", i, t)
			}
		}
		for k := range c {
			if c[k].err != nil {
				return nil, 0, within(fmt.Sprintf("%s[%d]", c[k].name, i), c[k].err)
			}
		}
		at := c[splitConditions].at
		if !finite(condition) {
			return nil, 0, within(fmt.Sprintf("split_conditions[%d]", i), damaged(at, "%v is not finite", condition))
		}
		deleted := feature == deletedFeature || feature == math.MaxUint32
		if deleted {
			removed++
		}
		if left == -1 {
			if right != -1 {
				return nil, 0, damaged(c[rightChildren].at, "node %d has a right child only", i)
			}
			if deleted {
				node.Feature = -1 // for the check below
			}
			node.Value = float64(condition)
			continue
		}
		if deleted || feature < 0 || feature >= int64(x.features) {
			return nil, 0, damaged(c[splitIndices].at, "node %d splits on feature %d of %d", i, feature, x.features)
		}
		if left < 0 || left >= int64(n) || right < 0 || right >= int64(n) {
			return nil, 0, damaged(c[leftChildren].at, "node %d has the children %d and %d in a tree of %d nodes", i, left, right, n)
		}
		node.Split, node.DefaultLeft = tree.Less, onMissing
		node.Feature, node.Left, node.Right = int32(feature), int32(left), int32(right)
		node.Threshold = float64(condition)
		if finite(gain) {
			node.Gain = float64(gain)
		}
	}
	if _, err := x.scratch.walk(nodes, f[leftChildren].pos); err != nil {
		return nil, 0, err
	}
	return nodes, removed, x.checkRelatives(f[parents], nodes)
}

// checkRelatives compares the parents that the file states with the children, and the nodes that
// are reached with those that are marked as deleted.
func (x *xgboost) checkRelatives(v value, nodes []tree.Node) error {
	for i := range nodes {
		gone := nodes[i].Split == tree.Leaf && nodes[i].Feature == -1
		if reached := x.scratch.visited[i]; reached == gone {
			if reached {
				return damaged(v.pos, "node %d is in the tree and marked as deleted", i)
			}
			return damaged(v.pos, "node %d is not reached from the root", i)
		}
	}
	_, err := x.integers(v, math.MinInt32, math.MaxInt32, func(i, parent int) error {
		switch {
		case !x.scratch.visited[i]: // a deleted node remembers any parent
		case i == 0 && parent != noParent && parent != -1:
			return damaged(v.pos, "the root has the parent %d", parent)
		case i > 0 && (parent < 0 || parent >= len(nodes) || nodes[parent].Split == tree.Leaf ||
			int(nodes[parent].Left) != i && int(nodes[parent].Right) != i):
			return damaged(v.pos, "node %d is no child of its parent %d", i, parent)
		}
		return nil
	})
	return within(columnName(parents), err)
}

// compact drops the nodes that are not kept and renumbers the others, in a slice of the right size.
func compact(nodes []tree.Node, keep []bool, n int) []tree.Node {
	renumbered := make([]int32, len(nodes))
	kept := make([]tree.Node, 0, n)
	for i := range nodes {
		if keep[i] {
			renumbered[i] = int32(len(kept))
			kept = append(kept, nodes[i])
		}
	}
	for i := range kept {
		if kept[i].Split != tree.Leaf {
			kept[i].Left, kept[i].Right = renumbered[kept[i].Left], renumbered[kept[i].Right]
		}
	}
	return kept
}

// scalarLeaf refuses trees whose leaves hold a vector.
func (x *xgboost) scalarLeaf(v value) error {
	if !v.present() {
		return nil
	}
	n, err := x.param(v, 0, math.MaxInt32)
	if err == nil && n > 1 {
		err = unsupported(v.pos, "vector leaves of %d (multi_strategy=multi_output_tree) are not supported", n)
	}
	return err
}

func (x *xgboost) checkLength(v value, want int) error {
	n, err := length(x, v)
	if err == nil && n != want {
		err = damaged(v.pos, "%d entries for %d nodes", n, want)
	}
	return err
}

// columnReader reads one column of a tree. It keeps the first error.
type columnReader struct {
	x    *xgboost
	name string
	cursor
	err error
}

func (c *columnReader) next() (value, bool) {
	if c.err != nil {
		return value{}, false
	}
	v, ok, err := c.x.element(&c.cursor)
	if err == nil && !ok {
		err = damaged(c.at, "the array ends too early")
	}
	c.err = err
	return v, err == nil
}

func (c *columnReader) integer() int64 {
	v, ok := c.next()
	if !ok {
		return 0
	}
	if c.x.kind(v) != number {
		c.err = damaged(v.pos, "not an integer")
		return 0
	}
	var n int64
	n, c.at, c.err = c.x.document.integer(v)
	return n
}

func (c *columnReader) float() float32 {
	v, ok := c.next()
	if !ok {
		return 0
	}
	if c.x.kind(v) != number {
		c.err = damaged(v.pos, "not a number")
		return 0
	}
	var f float32
	f, c.at, c.err = c.x.document.float(v)
	return f
}

// flag reads 0 and 1, or false and true as XGBoost 1.0 to 1.5 writes them.
func (c *columnReader) flag() bool {
	v, ok := c.next()
	if !ok {
		return false
	}
	if c.x.kind(v) == boolean {
		c.at, c.err = c.x.skip(v)
		return v.marker == 't' || v.marker == 'T'
	}
	if c.x.kind(v) != number {
		c.err = damaged(v.pos, "neither 0 nor 1")
		return false
	}
	var n int64
	if n, c.at, c.err = c.x.document.integer(v); c.err == nil && n != 0 && n != 1 {
		c.err = damaged(v.pos, "%d is neither 0 nor 1", n)
	}
	return n == 1
}
