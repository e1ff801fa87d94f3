package repository

import (
	"cmp"
	"slices"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// Summary is what a person asks about a model file. Of one that workers serve, format, outputs and features are known.
type Summary struct {
	Format      string
	Library     string // version of the library that wrote the file, "" if it does not say
	Objective   string
	Precision   tree.Precision
	Outputs     int
	Features    []string
	Trees       int
	Leaves      int
	Splits      int
	MaxDepth    int          // edges from the root to the deepest leaf
	MaxLeaves   int          // of one tree
	Importances []Importance // features that are split on, the most important first
}

// Importance is how much a feature contributes to the model.
type Importance struct {
	Feature string  `json:"feature"`
	Gain    float64 `json:"gain"` // share of the loss reduction over all splits, 0…1
	Splits  int     `json:"splits"`
}

// Summarize walks the ensemble once.
func Summarize(e *tree.Ensemble) Summary {
	s := Summary{
		Format: e.Format, Library: e.Library, Objective: e.Objective, Precision: e.Precision,
		Outputs: e.Outputs, Features: e.Features, Trees: len(e.Trees),
	}
	gain := make([]float64, len(e.Features))
	splits := make([]int, len(e.Features))
	total := 0.0
	for _, t := range e.Trees {
		leaves := 0
		depth := make([]int, len(t.Nodes)) // a reader puts no child before its parent only by chance: walk
		stack := []int32{0}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			n := t.Nodes[i]
			if n.Split == tree.Leaf {
				leaves++
				s.MaxDepth = max(s.MaxDepth, depth[i])
				continue
			}
			s.Splits++
			gain[n.Feature] += n.Gain
			splits[n.Feature]++
			total += n.Gain
			depth[n.Left], depth[n.Right] = depth[i]+1, depth[i]+1
			stack = append(stack, n.Left, n.Right)
		}
		s.Leaves += leaves
		s.MaxLeaves = max(s.MaxLeaves, leaves)
	}
	for f, n := range splits {
		if n == 0 {
			continue
		}
		share := 0.0
		if total > 0 {
			share = gain[f] / total
		}
		s.Importances = append(s.Importances, Importance{Feature: e.Features[f], Gain: share, Splits: n})
	}
	slices.SortStableFunc(s.Importances, func(a, b Importance) int { return cmp.Compare(b.Gain, a.Gain) })
	return s
}
