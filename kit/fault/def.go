package fault

import "strings"

// Effects are the kinds of effect that a point honours.
type Effects uint8

// What a boundary can do. Every point can be delayed, hung, panicked and made to burn or hold resources.
const (
	Fail   Effects = 1 << iota // return an error
	Lose                       // pretend that it happened, although it did not
	Mangle                     // cut short or damage bytes
	Skew                       // tell a wrong time

	Stall Effects = 0    // no more than what every point can
	Call          = Fail // a call that can fail
	Bytes         = Fail | Lose | Mangle
)

// Def describes a point. A package declares its own as variables, with literals: lists of points are read from
// the source.
type Def struct {
	Name    string   // the package and the boundary, such as "inference.score"
	Doc     string   // what happens there, in a sentence
	Attrs   []string // the keys of the attributes that it tells of itself
	Effects Effects

	// Guarded points carry what ends faults. Only a pattern that spells out the name up to its first dot reaches one:
	// a rule for "*" must not cut the line by which it would be taken back.
	Guarded bool
}

// Attr is something that a point tells of a call, for rules to choose by.
type Attr struct{ Key, Value string }

var effectNames = []struct {
	effect Effects
	names  string
}{{Fail, "error"}, {Lose, "drop"}, {Mangle, "truncate, corrupt"}, {Skew, "skew"}}

// String lists the names of effects as rules have them, without those that every point has.
func (e Effects) String() string {
	var names []string
	for _, n := range effectNames {
		if e&n.effect != 0 {
			names = append(names, n.names)
		}
	}
	return strings.Join(names, ", ")
}
