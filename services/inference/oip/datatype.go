package oip

import "google.golang.org/protobuf/encoding/protowire"

// Datatype is that of a tensor's elements. The zero value is none.
type Datatype uint8

// The datatypes of the protocol, and BF16 of its binary extension. All but BYTES are numbers.
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
	BF16
	FP32
	FP64
	BYTES
)

// datatypes is indexed by Datatype.
var datatypes = [...]struct {
	name  string
	size  int              // of an element in binary; 0: elements differ
	field protowire.Number // of InferTensorContents; 0: travels raw only
}{
	{},
	{"BOOL", 1, boolContents},
	{"UINT8", 1, uintContents},
	{"UINT16", 2, uintContents},
	{"UINT32", 4, uintContents},
	{"UINT64", 8, uint64Contents},
	{"INT8", 1, intContents},
	{"INT16", 2, intContents},
	{"INT32", 4, intContents},
	{"INT64", 8, int64Contents},
	{"FP16", 2, 0},
	{"BF16", 2, 0},
	{"FP32", 4, fp32Contents},
	{"FP64", 8, fp64Contents},
	{"BYTES", 0, bytesContents},
}

// numberDatatypes is for errors.
const numberDatatypes = "BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64"

// ParseDatatype knows the protocol's names, which are in upper case.
func ParseDatatype(name []byte) (Datatype, bool) {
	for d := BOOL; d <= BYTES; d++ {
		if string(name) == datatypes[d].name {
			return d, true
		}
	}
	return 0, false
}

// String is the protocol's name.
func (d Datatype) String() string {
	if int(d) >= len(datatypes) {
		return ""
	}
	return datatypes[d].name
}

// Size is the number of bytes that an element takes in binary, or 0 where elements differ.
func (d Datatype) Size() int {
	if int(d) >= len(datatypes) {
		return 0
	}
	return datatypes[d].size
}

// float tells whether a missing value can be told from a number.
func (d Datatype) float() bool { return FP16 <= d && d <= FP64 }
