package fault

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/kit/internal/strictjson"
)

// Version is the version of documents that this package writes and reads.
const Version = 1

// Document is everything that one source says.
type Document struct {
	Version int    `json:"version"`
	Kill    bool   `json:"kill,omitempty"` // no rule of any source is in force
	Rules   []Rule `json:"rules"`          // in the order in which they strike
}

// Parse reads a document. Unknown keys, a version that is not known and whatever [Document.Validate] finds are
// errors, all of them at once.
func Parse(data []byte) (Document, error) {
	var d Document
	// The version first: what a later one has more is not "unknown", it is from the future.
	if err := strictjson.Decode(data, &d); err != nil {
		if v, ok := versionOf(data); ok && v > Version {
			return Document{}, fmt.Errorf("fault: document: %w", versionError(v))
		}
		return Document{}, fmt.Errorf("fault: document: %w", err)
	}
	if err := d.Validate(); err != nil {
		return Document{}, fmt.Errorf("fault: document: %w", err)
	}
	return d, nil
}

// ParseKept is Parse for documents that are kept somewhere and read again: Rule.For is an error there, since it would
// begin anew with each reading.
func ParseKept(data []byte) (Document, error) {
	d, err := Parse(data)
	if err != nil {
		return Document{}, err
	}
	var faults []error
	for i, r := range d.Rules {
		if r.For > 0 {
			faults = append(faults, fmt.Errorf("rules[%d].for: begins anew each time that this document is read; give expires", i))
		}
	}
	if len(faults) > 0 {
		return Document{}, fmt.Errorf("fault: document: %w", errors.Join(faults...))
	}
	return d, nil
}

// ParseRule reads one rule.
func ParseRule(data []byte) (Rule, error) {
	var r Rule
	if err := strictjson.Decode(data, &r); err != nil {
		return Rule{}, fmt.Errorf("fault: rule: %w", err)
	}
	if err := r.Validate(); err != nil {
		return Rule{}, fmt.Errorf("fault: rule: %w", err)
	}
	return r, nil
}

// Validate reports every fault at once.
func (d Document) Validate() error {
	if d.Version != Version {
		return versionError(d.Version)
	}
	var faults []error
	seen := map[string]bool{}
	for i, r := range d.Rules {
		if err := r.Validate(); err != nil {
			faults = append(faults, in(fmt.Sprintf("rules[%d]", i), err)...)
		}
		if seen[r.ID] {
			faults = append(faults, fmt.Errorf("rules[%d].id: %q is here twice", i, r.ID))
		}
		seen[r.ID] = true
	}
	return errors.Join(faults...)
}

// JSON is the document as Parse reads it.
func (d Document) JSON() ([]byte, error) { return strictjson.Encode(d) }

// MarshalJSON writes the rule as ParseRule reads it.
func (r Rule) MarshalJSON() ([]byte, error) {
	type plain Rule // without this method
	return strictjson.Encode(plain(r))
}

// UnmarshalJSON is ParseRule without its validation.
func (r *Rule) UnmarshalJSON(data []byte) error {
	type plain Rule
	return strictjson.Decode(data, (*plain)(r))
}

// in gives every fault that is joined in err a path to begin with.
func in(path string, err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{fmt.Errorf("%s.%w", path, err)}
	}
	var faults []error
	for _, err := range joined.Unwrap() {
		faults = append(faults, fmt.Errorf("%s.%w", path, err))
	}
	return faults
}

// versionOf is the version that a document says it has, although it has keys that are not known.
func versionOf(data []byte) (int, bool) {
	var d struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(data, &d)
	return d.Version, err == nil
}

func versionError(v int) error {
	if v > Version {
		return fmt.Errorf("version: %d is from the future: this process reads %d", v, Version)
	}
	return fmt.Errorf("version: %d is not known: this process reads %d", v, Version)
}
