package fault

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	inject "github.com/dougong-io/dougong/kit/fault"
)

// Rule is a rule of kit/fault whose id and expiry the run sets.
type Rule inject.Rule

// MarshalJSON writes the rule as kit/fault reads it, without what the run sets.
func (r Rule) MarshalJSON() ([]byte, error) {
	parts, err := r.parts()
	if err != nil {
		return nil, err
	}
	return json.Marshal(parts)
}

// UnmarshalJSON reads it strictly.
func (r *Rule) UnmarshalJSON(data []byte) error { return (*inject.Rule)(r).UnmarshalJSON(data) }

// parts are the members of the rule's JSON.
func (r Rule) parts() (map[string]json.RawMessage, error) {
	text, err := inject.Rule(r).MarshalJSON()
	if err != nil {
		return nil, err
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return nil, err
	}
	for _, name := range []string{"id", "expires", "for"} {
		delete(parts, name)
	}
	return parts, nil
}

// inWords is a line for people, such as "delay fixed 5ms at inference.score".
func (r Rule) inWords() string {
	parts, err := r.parts()
	if err != nil {
		return "at " + r.Point
	}
	var effect string
	var more []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		value := plainly(parts[name])
		switch name {
		case "point":
		case "where", "probability", "every", "skip", "count":
			more = append(more, name+" "+value)
		default:
			effect = strings.TrimSpace(name + " " + value)
		}
	}
	return strings.Join(append([]string{effect + " at " + r.Point}, more...), ", ")
}

// plainly writes JSON without its marks.
func plainly(text json.RawMessage) string {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return ""
	}
	members, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v)
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		words = append(words, fmt.Sprintf("%s %v", name, members[name]))
	}
	return strings.Join(words, ", ")
}
