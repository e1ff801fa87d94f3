package totals

import (
	"slices"

	"github.com/dougong-io/dougong/kit/fault"
)

// RuleStates are the states in which a rule may be found.
var RuleStates = [...]fault.State{fault.Active, fault.Unmatched, fault.Exhausted, fault.Expired, fault.Overridden, fault.Killed}

// Rules counts the rules of each source by their states, in the order of RuleStates.
func Rules(s fault.Status) map[string][len(RuleStates)]int64 {
	count := make(map[string][len(RuleStates)]int64, len(s.Sources))
	for _, r := range s.Rules {
		if i := slices.Index(RuleStates[:], r.State); i >= 0 {
			of := count[r.Source]
			of[i]++
			count[r.Source] = of
		}
	}
	return count
}
