package tree

import (
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every error with which Compile refuses an ensemble.
var ErrMalformed = errors.New("malformed ensemble")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// validate refuses what the kernels could not score: everything after it may index without asking.
// Nodes that no path reaches are allowed, since pruning leaves them behind in XGBoost's files.
func (e *Ensemble) validate() error {
	switch {
	case e.Precision > Float64:
		return malformed("unknown precision %d", e.Precision)
	case e.Transform > Softmax:
		return malformed("unknown transform %d", e.Transform)
	case e.Outputs < 1:
		return malformed("%d outputs", e.Outputs)
	case len(e.Base) != e.Outputs:
		return malformed("%d base values for %d outputs", len(e.Base), e.Outputs)
	case e.Transform == Sigmoid && !(e.SigmoidScale > 0 && e.SigmoidScale <= math.MaxFloat64):
		return malformed("sigmoid scale %v is not positive and finite", e.SigmoidScale)
	}
	for o, b := range e.Base {
		if math.IsNaN(b) {
			return malformed("base value %d is NaN", o)
		}
	}
	for t := range e.Trees {
		if err := e.validateTree(&e.Trees[t]); err != nil {
			return fmt.Errorf("tree %d: %w", t, err)
		}
	}
	return nil
}

func (e *Ensemble) validateTree(t *Tree) error {
	if t.Output < 0 || t.Output >= e.Outputs {
		return malformed("output %d of %d", t.Output, e.Outputs)
	}
	if len(t.Nodes) == 0 || len(t.Nodes) > math.MaxInt32 {
		return malformed("%d nodes", len(t.Nodes))
	}
	seen := make([]bool, len(t.Nodes))
	seen[0] = true
	for pending := []int32{0}; len(pending) > 0; {
		i := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		node := &t.Nodes[i]
		if err := e.validateNode(node); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		if node.Split == Leaf {
			continue
		}
		for _, child := range [2]int32{node.Left, node.Right} {
			if child < 0 || int(child) >= len(t.Nodes) {
				return malformed("node %d: child %d of %d nodes", i, child, len(t.Nodes))
			}
			if seen[child] {
				return malformed("node %d: child %d is the root or has another parent", i, child)
			}
			seen[child] = true
			pending = append(pending, child)
		}
	}
	return nil
}

func (e *Ensemble) validateNode(n *Node) error {
	switch n.Split {
	case Leaf:
		if math.IsNaN(n.Value) {
			return malformed("the leaf's value is NaN")
		}
		return nil
	case Less, LessEqual:
		switch {
		case n.Missing > MissingNone:
			return malformed("unknown missing rule %d", n.Missing)
		case math.IsNaN(n.Threshold):
			return malformed("the threshold is NaN")
		case e.Precision == Float32 && float64(float32(n.Threshold)) != n.Threshold:
			return malformed("threshold %v is not a float32", n.Threshold)
		}
	case Category:
	default:
		return malformed("unknown split %d", n.Split)
	}
	if n.Feature < 0 || int(n.Feature) >= len(e.Features) {
		return malformed("feature %d of %d", n.Feature, len(e.Features))
	}
	return nil
}
