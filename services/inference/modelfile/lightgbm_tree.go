package modelfile

import (
	"bytes"
	"math"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// Lines of a tree, as indices into treeKeys.
const (
	numLeaves = iota
	numCategorical
	isLinear
	// One entry an inner node.
	splitFeature
	splitGain
	threshold
	decisionType
	leftChild
	rightChild
	internalValue
	internalCount
	internalWeight
	// One entry a leaf.
	leafValue
	leafCount
	leafWeight
	// Bit sets of categories.
	catBoundaries
	catThreshold
	shrinkage // already applied to the leaves
	// Linear models in the leaves.
	leafConst
	numFeatures
	leafFeatures
	leafCoefficients
	treeLines
)

var treeKeys = [treeLines]string{
	"num_leaves", "num_cat", "is_linear",
	"split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
	"internal_value", "internal_count", "internal_weight",
	"leaf_value", "leaf_count", "leaf_weight",
	"cat_boundaries", "cat_threshold", "shrinkage",
	"leaf_const", "num_features", "leaf_features", "leaf_coeff",
}

// Bits of decision_type.
const (
	categoricalBit  = 1
	defaultLeftBit  = 2
	missingShift    = 2
	missingNone     = 0
	missingZero     = 1
	missingNaN      = 2
	largestDecision = 15
)

// zeroThreshold is LightGBM's kZeroThreshold, a float32.
const zeroThreshold = float64(float32(1e-35))

// tree reads one tree and returns its nodes, the inner ones first, and the line behind it.
func (l *lightGBM) tree(features int) ([]tree.Node, line, error) {
	var f [treeLines]field
	end, err := l.fields(treeKeys[:], f[:], func(text []byte) bool {
		return bytes.HasPrefix(text, []byte("Tree=")) || bytes.Equal(text, []byte("end of trees"))
	})
	if err != nil {
		return nil, end, err
	}
	for _, i := range [...]int{isLinear, leafConst, numFeatures, leafFeatures, leafCoefficients} {
		if f[i].given && !(i == isLinear && string(f[i].text) == "0") {
			return nil, end, unsupported(f[i].offset, "linear trees are not supported")
		}
	}
	if !f[numLeaves].given || !f[numCategorical].given {
		return nil, end, damaged(end.offset, "num_leaves or num_cat is missing")
	}
	leaves, err := f[numLeaves].integer(1, math.MaxInt32/2)
	if err != nil {
		return nil, end, err
	}
	if err := checkCounts(f[:], leaves, end.offset); err != nil {
		return nil, end, err
	}
	sets, err := categorySets(f[numCategorical], f[catBoundaries], f[catThreshold])
	if err != nil {
		return nil, end, err
	}
	nodes := make([]tree.Node, 2*leaves-1)
	if err := innerNodes(nodes[:leaves-1], f[:], leaves, features, sets); err != nil {
		return nil, end, err
	}
	values := f[leafValue].words()
	for i := leaves - 1; i < len(nodes); i++ {
		if nodes[i].Value, err = values.double(); err != nil {
			return nil, end, err
		}
	}
	reached, err := l.scratch.walk(nodes, f[leftChild].offset)
	if err == nil && reached != len(nodes) {
		err = damaged(f[leftChild].offset, "%d of %d nodes are not reached from the root", len(nodes)-reached, len(nodes))
	}
	return nodes, end, err
}

// checkCounts compares the number of entries of each line with the number of leaves, before
// anything is allocated for it.
func checkCounts(f []field, leaves int, offset int) error {
	for i := splitFeature; i <= leafWeight; i++ {
		want := leaves - 1
		if i >= leafValue {
			want = leaves
		}
		switch n := f[i].count(); {
		case !f[i].given && (i == internalWeight || i == leafWeight): // not in all versions
		case !f[i].given:
			return damaged(offset, "%s is missing", treeKeys[i])
		case n == want, n == 0 && leaves == 1 && i != leafValue: // some versions count the lone leaf's rows, some do not
		default:
			return damaged(f[i].offset, "%s has %d entries in a tree of %d leaves", treeKeys[i], n, leaves)
		}
	}
	return nil
}

func innerNodes(nodes []tree.Node, f []field, leaves, features int, sets [][]uint32) error {
	featureWords, gains, thresholds := f[splitFeature].words(), f[splitGain].words(), f[threshold].words()
	decisions, lefts, rights := f[decisionType].words(), f[leftChild].words(), f[rightChild].words()
	for i := range nodes {
		node := &nodes[i]
		feature, err := featureWords.integer(0, int64(features-1))
		if err != nil {
			return err
		}
		node.Feature = int32(feature)
		if gain, _, _ := gains.next(); true {
			// Importances only: a gain that is no finite number counts as none.
			if g, err := parseDouble(gain); err == nil {
				node.Gain = g
			}
		}
		if node.Left, err = childIndex(&lefts, leaves); err != nil {
			return err
		}
		if node.Right, err = childIndex(&rights, leaves); err != nil {
			return err
		}
		offset := decisions.offset
		decision, err := decisions.integer(0, largestDecision)
		if err != nil {
			return err
		}
		if decision&categoricalBit != 0 {
			set, err := thresholds.integer(0, int64(len(sets)-1))
			if err != nil {
				return err
			}
			node.Split, node.Categories = tree.Category, sets[set]
			continue
		}
		node.Split = tree.LessEqual
		switch decision >> missingShift {
		case missingNone:
			node.Missing = tree.MissingNone
		case missingZero:
			node.Missing = tree.MissingZero
		case missingNaN:
			node.Missing = tree.MissingNaN
		default:
			return damaged(offset, "decision_type %d has no kind of missing values", decision)
		}
		node.DefaultLeft = decision&defaultLeftBit != 0 && node.Missing != tree.MissingNone
		if node.Threshold, err = thresholds.double(); err != nil {
			return err
		}
		node.Threshold = effectiveThreshold(node.Threshold)
	}
	return nil
}

// effectiveThreshold accounts for what LightGBM does to a row before it compares: it drops values
// within ±zeroThreshold, so that they are compared as 0. A threshold within that range therefore
// parts all of these values from the rest, to one side or the other.
func effectiveThreshold(t float64) float64 {
	switch {
	case t >= 0 && t < zeroThreshold:
		return zeroThreshold
	case t < 0 && t >= -zeroThreshold:
		return math.Nextafter(-zeroThreshold, math.Inf(-1))
	}
	return t
}

// childIndex reads a child and puts the leaves, which the file numbers -1, -2, …, behind the inner nodes.
func childIndex(w *words, leaves int) (int32, error) {
	child, err := w.integer(int64(-leaves), int64(leaves-2))
	if child < 0 {
		child = int64(leaves-1) + ^child
	}
	return int32(child), err
}

// categorySets returns the bit set of each categorical split.
func categorySets(count, boundaries, bitset field) ([][]uint32, error) {
	n, err := count.integer(0, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		if boundaries.given || bitset.given {
			return nil, damaged(count.offset, "num_cat is 0, but there are sets of categories")
		}
		return nil, nil
	}
	if got := boundaries.count(); got != n+1 {
		return nil, damaged(boundaries.offset, "cat_boundaries has %d entries, num_cat is %d", got, n)
	}
	// Each set has a word at least, and each belongs to a node.
	if got := bitset.count(); got < n {
		return nil, damaged(bitset.offset, "cat_threshold has %d entries, num_cat is %d", got, n)
	}
	bits := make([]uint32, bitset.count())
	bitWords := bitset.words()
	for i := range bits {
		word, err := bitWords.integer(0, math.MaxUint32)
		if err != nil {
			return nil, err
		}
		bits[i] = uint32(word)
	}
	sets := make([][]uint32, n)
	ends := boundaries.words()
	start, err := ends.integer(0, 0)
	if err != nil {
		return nil, err
	}
	for i := range sets {
		end, err := ends.integer(start+1, int64(len(bits)))
		if err != nil {
			return nil, err
		}
		sets[i] = bits[start:end:end]
		start = end
	}
	if int(start) != len(bits) {
		return nil, damaged(boundaries.offset, "cat_boundaries end at %d, cat_threshold has %d entries", start, len(bits))
	}
	return sets, nil
}
