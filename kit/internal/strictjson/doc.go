// Package strictjson reads and writes the configuration structs of the kit as JSON that must not be misread.
//
// An unknown key, a repeated key, a wrong type, or anything after the document is a fault that names its
// path. It is not for the JSON of an API, whose senders may be newer than its readers, nor for documents of
// more than [MaxBytes].
//
//	type Policy struct {
//		Open  time.Duration `json:"open"`
//		Above float64       `json:"above,omitempty"`
//	}
//	policy := Policy{Open: 30 * time.Second} // the defaults
//	err := strictjson.Decode([]byte(`{"open": "10s", "above": "much"}`), &policy)
//	// above: want a number, have "much"
//
// Each exported field of such a struct has a json tag with its key, or "-". Fields are bool, integers, floats,
// strings, [time.Duration] (text such as "30s", never a number), types with UnmarshalText and MarshalText,
// structs, slices, maps with string keys, and pointers to those. Embedded structs are refused.
package strictjson
