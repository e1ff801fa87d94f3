package wire

import "fmt"

// Datatype is that of a tensor's elements. The zero value is none.
type Datatype uint8

// The datatypes, as the Open Inference Protocol names them.
const (
	BOOL Datatype = iota + 1
	UINT8
	UINT16
	UINT32
	UINT64
	INT8
	INT16
	INT32
	INT64
	FP16
	FP32
	FP64
	BYTES
	BF16
)

var datatypes = [...]struct {
	name string
	size int
}{
	{}, {"BOOL", 1}, {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8}, {"INT8", 1}, {"INT16", 2}, {"INT32", 4}, {"INT64", 8},
	{"FP16", 2}, {"FP32", 4}, {"FP64", 8}, {"BYTES", 0}, {"BF16", 2},
}

// ParseDatatype knows the names, which are in upper case.
func ParseDatatype(name string) (Datatype, bool) {
	for d := BOOL; d <= BF16; d++ {
		if name == datatypes[d].name {
			return d, true
		}
	}
	return 0, false
}

func (d Datatype) known() bool { return d >= BOOL && d <= BF16 }

func (d Datatype) String() string {
	if d.known() {
		return datatypes[d].name
	}
	return fmt.Sprintf("datatype %d", uint8(d))
}

// Size is that of an element in bytes; 0 for BYTES, whose elements differ.
func (d Datatype) Size() int {
	if d.known() {
		return datatypes[d].size
	}
	return 0
}

// MarshalText gives the name, for JSON.
func (d Datatype) MarshalText() ([]byte, error) {
	if !d.known() {
		return nil, fmt.Errorf("%v is none of the protocol", d)
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads the name.
func (d *Datatype) UnmarshalText(text []byte) error {
	parsed, ok := ParseDatatype(string(text))
	if !ok {
		return fmt.Errorf("datatype %.40q is none of the protocol", text)
	}
	*d = parsed
	return nil
}
