package oip

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds in bytes, the same as those of the rules in open_inference.proto.
const (
	maxID            = 1024
	maxModel         = 128 // model and version
	maxTensor        = 256
	maxParameter     = 256
	maxParameterList = 256 // parameters in one map
)

// Limits bound a request. Of a field that is zero nothing passes.
type Limits struct {
	MaxRows   int
	MaxInputs int // tensors; a model that gets its features by name needs one a feature
}

// Request is one inference request: parsed, bound to a model, answered. The zero value is ready. It is for one goroutine,
// and reused: Reset keeps the memory. Between Parse and Reset it points
// into the body that it was parsed from; of a short JSON before binary tensors it keeps a copy, also beyond Reset.
type Request struct {
	model, version, id []byte
	inputs             []input
	raws               [][]byte // raw_input_contents, in order
	numbers            []float64
	rows               []float64 // gathered by Bind, where numbers is not what it needs
	bound              []float64 // numbers or rows
	seen               []uint64  // Bind's set of columns
	limits             Limits
	wire               bool // parsed from protobuf
	binaryOutput       bool // JSON: of the request
	outputBinary       choice
	output             []byte // that was asked for by name
	selected           bool   // one was
	boundRows          int
	head               head // Reset keeps it
}

// choice is of what may also be left open.
type choice uint8

const (
	unsaid choice = iota
	no
	yes
)

// input is a tensor of the request. Its values are raw, or count of Request.numbers from start on.
type input struct {
	index    int // among the request's inputs
	name     []byte
	raw      []byte // little-endian elements
	start    int
	count    int
	shape    [2]int64 // of more dimensions the first two
	rank     int
	has      member
	datatype Datatype
	inRaw    bool
	finite   bool // known to have no infinite value, nor one beyond its datatype; NaN is missing
	whole    bool // it is all of the body: Bind finds datatype and shape
	nested   bool // JSON data as [rows][width]
	typed    bool // protobuf: has contents
	bools    bool // JSON data has true or false
	plain    bool // JSON data has numbers
	outer    int  // nested: rows
	width    int  // nested: values a row
	binary   int  // binary_data_size
	field    protowire.Number
}

// member is a set of what an input has said.
type member uint8

const (
	hasName member = 1 << iota
	hasShape
	hasDatatype
	hasParameters
	hasData
	hasBinary
)

// Reset forgets the request, and keeps its memory.
func (r *Request) Reset() {
	clear(r.inputs) // they point into the body
	clear(r.raws)
	*r = Request{inputs: r.inputs[:0], raws: r.raws[:0], numbers: r.numbers[:0], rows: r.rows[:0], seen: r.seen[:0], head: r.head}
}

// PoolBytes is the memory that it keeps.
func (r *Request) PoolBytes() int {
	return int(unsafe.Sizeof(*r)) + 8*(cap(r.numbers)+cap(r.rows)+cap(r.seen)) +
		cap(r.inputs)*int(unsafe.Sizeof(input{})) + r.head.poolBytes() + cap(r.raws)*int(unsafe.Sizeof(r.raws[0]))
}

// Model is the model's name in the wire form; JSON has it in the URL.
func (r *Request) Model() []byte { return r.model }

// Version is the model's version in the wire form, empty if the request leaves it open.
func (r *Request) Version() []byte { return r.version }

// ID is the request's id, valid UTF-8 and at most 1 KiB, empty if it has none.
func (r *Request) ID() []byte { return r.id }

// Rows are the values after Bind, row by row in the order of the model's features, NaN where one is missing. They are
// valid until Reset.
func (r *Request) Rows() (values []float64, rows int) { return r.bound, r.boundRows }

// addInput begins another input.
func (r *Request) addInput() (*input, error) {
	if len(r.inputs) >= r.limits.MaxInputs {
		return nil, invalid("more than %d inputs; expected one, or one a feature", r.limits.MaxInputs)
	}
	r.inputs = append(r.inputs, input{index: len(r.inputs), start: len(r.numbers)})
	return &r.inputs[len(r.inputs)-1], nil
}

// label names an input for an error: by its place if its name is not known yet.
func (in *input) label() string {
	if in.has&hasName == 0 {
		return fmt.Sprintf("inputs[%d]", in.index)
	}
	return "input " + quote(in.name)
}

func (in *input) fault(format string, args ...any) error {
	return invalid("%s: %s", in.label(), fmt.Sprintf(format, args...))
}

func (in *input) setName(name []byte) error {
	if len(name) == 0 || len(name) > maxTensor {
		return in.fault("name of %d bytes; expected 1 to %d", len(name), maxTensor)
	}
	in.name = name
	in.has |= hasName
	return nil
}

func (in *input) setDatatype(name []byte) error {
	d, known := ParseDatatype(name)
	switch {
	case !known:
		return in.fault("unknown datatype %s; expected %s", quote(name), numberDatatypes)
	case d == BYTES:
		return in.fault("datatype BYTES is not supported; expected %s", numberDatatypes)
	}
	in.datatype = d
	return nil
}

// setID checks what is sent back.
func (r *Request) setID(id []byte) error {
	if len(id) > maxID {
		return invalid("id of %d bytes; expected at most %d", len(id), maxID)
	}
	r.id = id
	return nil
}

// selectOutput notes that an output was asked for by name. Bind knows whether there is one of that name.
func (r *Request) selectOutput(name []byte) error {
	switch {
	case len(name) == 0 || len(name) > maxTensor:
		return invalid("the name of an output has %d bytes; expected 1 to %d", len(name), maxTensor)
	case r.selected && bytes.Equal(name, r.output):
		return invalid("output %s is asked for twice", quote(name))
	case r.selected:
		return invalid("outputs %s and %s are asked for; a model has one", quote(r.output), quote(name))
	}
	r.selected, r.output = true, name
	return nil
}

// checkOutput tells whether the model has the output that was asked for.
func (r *Request) checkOutput(sig *Signature) error {
	if r.selected && string(r.output) != sig.output() {
		return invalid("unknown output %s; expected %q, or no outputs for all", quote(r.output), sig.output())
	}
	return nil
}

// refuseParameter knows the parameters that ask for something that is not there. To ignore them would be to answer
// something else than was asked for.
func refuseParameter(name []byte) error {
	const sharedMemory = "shared_memory_"
	switch {
	case string(name) == "classification":
		return invalid("parameter classification is not supported; ask for the output itself")
	case len(name) >= len(sharedMemory) && string(name[:len(sharedMemory)]) == sharedMemory:
		return invalid("parameter %s is not supported; send the tensor in the request", quote(name))
	}
	return nil
}

// checkForm finds what is wrong with an input's shape whatever its values and the model are.
func (in *input) checkForm() error {
	if in.rank != 1 && in.rank != 2 {
		return in.fault("shape has %d dimensions; expected [rows, features], [features] for one row, or for a single feature [rows] or [rows, 1]", in.rank)
	}
	for _, n := range in.shape[:in.rank] {
		if n < 0 {
			return in.fault("shape %s has a negative dimension", in.shapeText())
		}
	}
	if in.shape[0] == 0 || in.rank == 2 && in.shape[1] == 0 {
		return in.fault("shape %s holds nothing; expected at least one row", in.shapeText())
	}
	return nil
}

// checkCount compares the number of elements in the shape with the number that there are.
func (r *Request) checkCount(in *input, count int, what string) error {
	takes, fits := in.elements()
	if !fits {
		return in.fault("shape %s has more elements than a request can hold", in.shapeText())
	}
	if takes != count {
		return in.fault("shape %s takes %d values; %s has %d", in.shapeText(), takes, what, count)
	}
	if in.rank == 2 && in.shape[0] > int64(r.limits.MaxRows) {
		return tooManyRows(r.limits.MaxRows)
	}
	return nil
}

// checkRaw compares the number of bytes in the shape and datatype with those that there are.
func (r *Request) checkRaw(in *input) error {
	size := in.datatype.Size()
	if takes, fits := in.elements(); !fits {
		return in.fault("shape %s has more elements than a request can hold", in.shapeText())
	} else if takes*size != len(in.raw) {
		return in.fault("shape %s of %s takes %d bytes; the binary data has %d", in.shapeText(), in.datatype, takes*size, len(in.raw))
	}
	if in.datatype == BOOL {
		for k, b := range in.raw {
			if b > 1 {
				return in.fault("element %d is %d; a BOOL is 0 or 1", k, b)
			}
		}
	}
	return r.checkCount(in, len(in.raw)/size, "the binary data")
}

// elements multiplies the shape out. It does not fit if no body could hold as many.
func (in *input) elements() (n int, fits bool) {
	const most = math.MaxInt32
	if in.shape[0] > most || in.rank == 2 && (in.shape[1] > most || in.shape[0]*in.shape[1] > most) {
		return 0, false
	}
	if in.rank == 1 {
		return int(in.shape[0]), true
	}
	return int(in.shape[0] * in.shape[1]), true
}

func (in *input) shapeText() string {
	if in.rank == 1 {
		return fmt.Sprintf("[%d]", in.shape[0])
	}
	return strings.ReplaceAll(fmt.Sprint(in.shape), " ", ", ")
}

// addDimension keeps the first two, and how many there are.
func (in *input) addDimension(n int64) {
	if in.rank < len(in.shape) {
		in.shape[in.rank] = n
	}
	in.rank++
}
