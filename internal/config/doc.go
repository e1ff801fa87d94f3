// Package config is the house's strict YAML decoder and printer. It knows no service: the
// struct that holds every section is declared in internal/app, and the files of the model
// repository are decoded into plain structs.
//
// It is for files that people write and that must not be misread: an unknown key, a wrong
// type or a repeated key is a fault with its line, and all faults of a file are reported at
// once. It is not for YAML that other programs define (anchors, tags and several documents
// are refused), not for files of more than some megabytes, and not for the JSON of our HTTP
// APIs.
//
//	type Config struct {
//		Listen  string        `json:"listen" doc:"Address to listen on."`
//		Timeout time.Duration `json:"timeout" doc:"How long a request may take."`
//	}
//	cfg := Config{Listen: "127.0.0.1:8080", Timeout: 30 * time.Second}
//	err := config.Load("dougong.yaml", data, os.Environ(), &cfg)
//
// # Tags
//
// Each exported field has a json tag with its key (lower case with underscores, or "-") and
// a doc tag, in sentences. unit:"bytes" on integers reads and prints sizes (8MiB, 512KiB,
// 1GB); any other unit, such as unit:"requests/s", is documentation. secret:"true" keeps a
// value, or everything below a section, out of messages and printed files. null:"nan" lets
// floats be null or .nan for a missing cell; both read as NaN.
//
// Fields are structs (sections), string, bool, integers, floats, time.Duration, types with
// UnmarshalText and MarshalText, pointers to those (null is nil), slices, and maps with
// string keys. Embedded structs are refused.
//
// # Reading
//
// Text must be quoted where YAML would see a number or a bool; a duration needs its unit;
// a whole number does not begin with a zero. A list or map in the file replaces the default
// and, if empty, is nil; a section without a value keeps its defaults.
//
// # Environment
//
// DOUGONG_ and the path in upper case, joined by underscores, overrides a key:
// DOUGONG_HTTP_LISTEN for http.listen. The value is taken as it is, without quotes. A list is
// written a,b or [a, b], a map {a: b}, and null is nil for a pointer.
//
// # Validation
//
// A struct may have Validate() error. It returns errors.Join of errors that each begin with
// the path of the key in that struct and a colon:
//
//	fmt.Errorf("tls.cert_file: must be set when tls.key_file is")
//	fmt.Errorf("rooms[%d].name: must not be empty", i)
//	fmt.Errorf("tenants.%s.rate: must be positive", name)
//
// An error that does not is about the section as a whole. Every struct with Validate, however
// deep, is called by this package; a parent checks only what holds between its sections. (A
// parent that calls a child's Validate and prefixes its path does no harm: repetitions are
// reported once.)
package config
