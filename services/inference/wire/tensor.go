package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// Bounds of tensors.
const (
	MaxTensors = 1024 // of a call or an answer
	MaxRank    = 8
	MaxName    = 256 // bytes
)

const (
	tensorBytes = 16 // before the dimensions
	// The dimensions that are not zero have a product below this, so that it can be multiplied by a size.
	maxElements = math.MaxInt64 / 16
)

// Tensor is a named array. Data is row-major and little endian; an element of BYTES is a length in 4 bytes, and as many
// bytes.
type Tensor struct {
	Name     []byte
	Datatype Datatype
	Shape    []int64
	Data     []byte
}

// Elements is the product of the dimensions. It is not ok where one is negative, or where the product of those that
// are not zero is too large for an array in memory.
func Elements(shape []int64) (n int64, ok bool) {
	product, empty := uint64(1), false
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			empty = true
			continue
		}
		high, low := bits.Mul64(product, uint64(d))
		if high != 0 || low > maxElements {
			return 0, false
		}
		product = low
	}
	if empty {
		return 0, true
	}
	return int64(product), true
}

// Check says what is wrong with a tensor that is to be sent: its name, its rank, dimensions that its data does not fill.
func (t *Tensor) Check() error {
	if what := t.fault(); what != "" {
		return fmt.Errorf("tensor %.40q: %s", t.Name, what)
	}
	return nil
}

// fault is what Check and the parser have in common. It is empty where the tensor is sound.
func (t *Tensor) fault() string {
	switch {
	case len(t.Name) == 0 || len(t.Name) > MaxName:
		return fmt.Sprintf("a name has 1 to %d bytes, not %d", MaxName, len(t.Name))
	case !utf8.Valid(t.Name):
		return "its name is not UTF-8"
	case !t.Datatype.known():
		return t.Datatype.String() + " is none of the protocol"
	case len(t.Shape) > MaxRank:
		return fmt.Sprintf("has %d dimensions; at most %d are allowed", len(t.Shape), MaxRank)
	}
	elements, ok := Elements(t.Shape)
	if !ok {
		return fmt.Sprintf("its dimensions %d are negative or too large", t.Shape)
	}
	if t.Datatype == BYTES {
		return bytesFault(t.Data, elements)
	}
	if want := elements * int64(t.Datatype.Size()); int64(len(t.Data)) != want {
		return fmt.Sprintf("%v %d needs %d bytes of data, not %d", t.Datatype, t.Shape, want, len(t.Data))
	}
	return ""
}

// bytesFault walks the elements of BYTES.
func bytesFault(data []byte, elements int64) string {
	if elements > int64(len(data)/4) {
		return fmt.Sprintf("%d elements of BYTES do not fit into %d bytes", elements, len(data))
	}
	for i := range elements {
		if len(data) < 4 {
			return fmt.Sprintf("data ends before element %d of BYTES", i)
		}
		n := binary.LittleEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-4) {
			return fmt.Sprintf("element %d of BYTES has %d bytes; %d are left", i, n, len(data)-4)
		}
		data = data[4+n:]
	}
	if len(data) > 0 {
		return fmt.Sprintf("%d bytes follow the last element of BYTES", len(data))
	}
	return ""
}

// HeadBytes is how many bytes of the frame come before the tensor's data, with their padding.
func (t *Tensor) HeadBytes() int {
	n := tensorBytes + 8*len(t.Shape) + len(t.Name)
	return n + Padding(n)
}

// AppendHead appends what comes before the data, which will have the given number of bytes and is left to the caller,
// with the padding behind it. Nothing is checked.
func (t *Tensor) AppendHead(b []byte, data int) []byte {
	b = append(b, byte(t.Datatype), byte(len(t.Shape)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(t.Name)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(data))
	for _, d := range t.Shape {
		b = binary.LittleEndian.AppendUint64(b, uint64(d))
	}
	b = append(b, t.Name...)
	return AppendPadding(b, len(t.Name))
}

// Padding is how many zeros follow n bytes, so that what comes next lies at a multiple of 8.
func Padding(n int) int { return -n & 7 }

// AppendPadding appends the zeros that follow n bytes.
func AppendPadding(b []byte, n int) []byte { return append(b, make([]byte, Padding(n))...) }

// bodyBytes is the room that the tensors take.
func bodyBytes(tensors []Tensor) int {
	n := 0
	for i := range tensors {
		t := &tensors[i]
		n += t.HeadBytes() + len(t.Data) + Padding(len(t.Data))
	}
	return n
}

func appendTensors(b []byte, tensors []Tensor) []byte {
	for i := range tensors {
		t := &tensors[i]
		b = append(t.AppendHead(b, len(t.Data)), t.Data...)
		b = AppendPadding(b, len(t.Data))
	}
	return b
}

// arena is the memory that a Call or an Answer keeps from one frame to the next.
type arena struct {
	dims  []int64
	order []int32
}

// parse reads count tensors, from byte at of the body to its end, into tensors, whose memory it uses.
func (a *arena) parse(part string, body []byte, at, count int, tensors []Tensor) ([]Tensor, error) {
	if count > MaxTensors {
		return nil, breach(part, -1, "%d tensors; at most %d are allowed", count, MaxTensors)
	}
	// The least that a tensor needs: its head without dimensions, a short name.
	if count > (len(body)-at)/(tensorBytes+8) {
		return nil, breach(part, at, "%d tensors do not fit into %d bytes", count, len(body)-at)
	}
	tensors = slices.Grow(tensors[:0], count)
	a.dims = a.dims[:0]
	for i := range count {
		t, next, err := a.tensor(part, body, at, i)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
		at = next
	}
	if at != len(body) {
		return nil, breach(part, at, "%d bytes follow the last tensor", len(body)-at)
	}
	if i, j, ok := a.twice(tensors); ok {
		return nil, breach(part, -1, "tensors %d and %d are both called %.40q", i, j, tensors[i].Name)
	}
	return tensors, nil
}

func (a *arena) tensor(part string, body []byte, at, i int) (t Tensor, next int, err error) {
	rest := body[at:]
	if len(rest) < tensorBytes {
		return t, 0, breach(part, at, "ends within the head of tensor %d", i)
	}
	rank, name := int(rest[1]), int(binary.LittleEndian.Uint16(rest[2:]))
	if rank > MaxRank || name == 0 || name > MaxName || !zeros(rest[4:8]) {
		return t, 0, breach(part, at, "head of tensor %d: %d dimensions (at most %d), a name of %d bytes (1 to %d), reserved bytes % x", i, rank, MaxRank, name, MaxName, rest[4:8])
	}
	head := tensorBytes + 8*rank + name
	head += Padding(head)
	if len(rest) < head {
		return t, 0, breach(part, at, "ends within the head of tensor %d", i)
	}
	data := binary.LittleEndian.Uint64(rest[8:])
	if left := len(rest) - head; data > uint64(left) || int(data)+Padding(int(data)) > left {
		return t, 0, breach(part, at+8, "tensor %d has %d bytes of data; %d are left", i, data, left)
	}
	end := head + int(data)
	next = end + Padding(int(data))
	before := len(a.dims)
	for k := range rank {
		a.dims = append(a.dims, int64(binary.LittleEndian.Uint64(rest[tensorBytes+8*k:])))
	}
	named := tensorBytes + 8*rank
	t = Tensor{Datatype: Datatype(rest[0]), Shape: a.dims[before:len(a.dims):len(a.dims)], Name: rest[named : named+name : named+name], Data: rest[head:end:end]}
	if !zeros(rest[named+name:head]) || !zeros(rest[end:next]) {
		return t, 0, breach(part, at, "padding of tensor %d is not zero", i)
	}
	if what := t.fault(); what != "" {
		return t, 0, breach(part, at, "tensor %d (%.40q): %s", i, t.Name, what)
	}
	return t, at + next, nil
}

// twice finds two tensors of the same name.
func (a *arena) twice(tensors []Tensor) (i, j int, found bool) {
	const few = 16
	if len(tensors) <= few {
		for j := range tensors {
			for i := range j {
				if bytes.Equal(tensors[i].Name, tensors[j].Name) {
					return i, j, true
				}
			}
		}
		return 0, 0, false
	}
	a.order = a.order[:0]
	for i := range tensors {
		a.order = append(a.order, int32(i))
	}
	slices.SortFunc(a.order, func(i, j int32) int { return bytes.Compare(tensors[i].Name, tensors[j].Name) })
	for k := 1; k < len(a.order); k++ {
		i, j := int(a.order[k-1]), int(a.order[k])
		if bytes.Equal(tensors[i].Name, tensors[j].Name) {
			return min(i, j), max(i, j), true
		}
	}
	return 0, 0, false
}
