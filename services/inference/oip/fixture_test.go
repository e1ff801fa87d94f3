package oip

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

// newRand answers a generator whose seed is printed if the test fails.
func newRand(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

var testLimits = Limits{MaxRows: 1000, MaxInputs: 100}

// wanted is a request as it is meant; its methods write it in each form.
type wanted struct {
	id      string
	tensors []tensor
}

// tensor has its elements as bits, as wide as the datatype is.
type tensor struct {
	name     string
	datatype Datatype
	shape    []int64
	bits     []uint64
}

// value is what an element is worth, worked out in another way than convert does.
func value(d Datatype, bits uint64) float64 {
	switch d {
	case BOOL, UINT8, UINT16, UINT32, UINT64:
		return float64(bits)
	case INT8:
		return float64(int8(bits))
	case INT16:
		return float64(int16(bits))
	case INT32:
		return float64(int32(bits))
	case INT64:
		return float64(int64(bits))
	case FP16:
		return binaryFloat(bits, 5, 10)
	case BF16:
		return binaryFloat(bits, 8, 7)
	case FP32:
		return float64(math.Float32frombits(uint32(bits)))
	}
	return math.Float64frombits(bits)
}

// binaryFloat reads an IEEE 754 interchange format by the definition.
func binaryFloat(bits uint64, exponentBits, mantissaBits int) float64 {
	mantissa := int(bits & (1<<mantissaBits - 1))
	exponent := int(bits >> mantissaBits & (1<<exponentBits - 1))
	sign := 1.0
	if bits>>(exponentBits+mantissaBits) != 0 {
		sign = -1
	}
	bias := 1<<(exponentBits-1) - 1
	switch {
	case exponent == 1<<exponentBits-1 && mantissa != 0:
		return math.NaN()
	case exponent == 1<<exponentBits-1:
		return sign * math.Inf(1)
	case exponent == 0:
		return sign * math.Ldexp(float64(mantissa), 1-bias-mantissaBits)
	}
	return sign * math.Ldexp(float64(mantissa|1<<mantissaBits), exponent-bias-mantissaBits)
}

func featureName(i int) string { return "f" + strconv.Itoa(i) }

// oneTensor is a request of rows in one tensor of FP32 or FP64.
func oneTensor(values []float64, rows, width int, d Datatype) wanted {
	in := tensor{name: InputName, datatype: d, shape: []int64{int64(rows), int64(width)}}
	for _, x := range values {
		if d == FP32 {
			in.bits = append(in.bits, uint64(math.Float32bits(float32(x))))
		} else {
			in.bits = append(in.bits, math.Float64bits(x))
		}
	}
	return wanted{id: "42", tensors: []tensor{in}}
}

// columns is the same request with a tensor a feature.
func (w wanted) columns() wanted {
	in := w.tensors[0]
	rows, width := int(in.shape[0]), int(in.shape[1])
	apart := wanted{id: w.id}
	for c := range width {
		column := tensor{name: featureName(c), datatype: in.datatype, shape: []int64{int64(rows)}}
		if c%2 == 1 {
			column.shape = append(column.shape, 1)
		}
		for row := range rows {
			column.bits = append(column.bits, in.bits[row*width+c])
		}
		apart.tensors = append(apart.tensors, column)
	}
	return apart
}

func (w wanted) signature(d Datatype) *Signature {
	width := len(w.tensors)
	if in := w.tensors[0]; in.name == InputName {
		width = int(in.shape[len(in.shape)-1])
	}
	return testSignature(width, d)
}

func testSignature(width int, d Datatype) *Signature {
	sig := &Signature{Model: "loan", Version: "1", Outputs: 1, Datatype: d}
	columns := map[string]int{}
	for i := range width {
		sig.Features = append(sig.Features, featureName(i))
		columns[featureName(i)] = i
	}
	sig.Column = func(name string) (int, bool) { i, ok := columns[name]; return i, ok }
	return sig
}

// raw is the tensor as binary data.
func (in tensor) raw() []byte {
	var b []byte
	for _, bits := range in.bits {
		b = append(b, binary.LittleEndian.AppendUint64(nil, bits)[:in.datatype.Size()]...)
	}
	return b
}

// text is an element in JSON.
func (in tensor) text(i int) string {
	switch bits := in.bits[i]; in.datatype {
	case BOOL:
		return strconv.FormatBool(bits == 1)
	case UINT8, UINT16, UINT32, UINT64:
		return strconv.FormatUint(bits, 10)
	case INT8, INT16, INT32, INT64:
		return strconv.FormatInt(int64(bits)<<(64-8*in.datatype.Size())>>(64-8*in.datatype.Size()), 10)
	default:
		x := value(in.datatype, bits)
		if math.IsNaN(x) {
			return "null"
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
}

// data is the tensor's data in JSON.
func (in tensor) data(nested bool) string {
	nested = nested && len(in.shape) == 2
	var text strings.Builder
	text.WriteString("[")
	for i := range in.bits {
		switch {
		case i == 0 && nested:
			text.WriteString("[")
		case i > 0 && nested && int64(i)%in.shape[1] == 0:
			text.WriteString("],[")
		case i > 0:
			text.WriteString(",")
		}
		text.WriteString(in.text(i))
	}
	if nested {
		text.WriteString("]")
	}
	return text.String() + "]"
}

func (in tensor) shapeJSON() string {
	b, _ := json.Marshal(in.shape)
	return string(b)
}

func (w wanted) json(nested bool) []byte {
	b := fmt.Appendf(nil, `{"id":%s,"inputs":[`, w.idJSON())
	for i, in := range w.tensors {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"name":%q,"shape":%s,"datatype":%q,"data":%s}`, in.name, in.shapeJSON(), in.datatype, in.data(nested))
	}
	return append(b, "]}"...)
}

// backwards is JSON with the members in the order that is hardest to read.
func (w wanted) backwards() []byte {
	b := []byte(`{"inputs":[`)
	for i, in := range w.tensors {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "{\"data\" :\n%s,\"datatype\":%q, \"more\":{\"a\":[null]},\"shape\":%s ,\"name\":%q}", in.data(i%2 == 0), in.datatype, in.shapeJSON(), in.name)
	}
	return fmt.Appendf(b, `],"model_name":"x","parameters":null,"id":%s}`, w.idJSON())
}

func (w wanted) idJSON() string {
	b, _ := json.Marshal(w.id)
	return string(b)
}

func (w wanted) binary() (body []byte, header int) {
	return w.mixed(func(int) bool { return true })
}

// mixed sends those tensors in binary for which in is true, the others in JSON.
func (w wanted) mixed(in func(i int) bool) (body []byte, header int) {
	b := fmt.Appendf(nil, `{"id":%s,"parameters":{"binary_data_output":true},"inputs":[`, w.idJSON())
	var raw []byte
	for i, t := range w.tensors {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"name":%q,"shape":%s,"datatype":%q,`, t.name, t.shapeJSON(), t.datatype)
		if in(i) {
			b = fmt.Appendf(b, `"parameters":{"binary_data_size":%d}}`, len(t.raw()))
			raw = append(raw, t.raw()...)
		} else {
			b = fmt.Appendf(b, `"data":%s}`, t.data(true))
		}
	}
	b = append(b, "]}"...)
	return append(b, raw...), len(b)
}

// wireForm is how contents are written in protobuf.
type wireForm int

const (
	wireRaw wireForm = iota
	wirePacked
	wireUnpacked
	wireSplit // packed in several pieces, elements by themselves between them
)

func (w wanted) proto(form wireForm) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "loan")
	b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), w.id)
	var raws []byte
	for _, in := range w.tensors {
		var m []byte
		m = protowire.AppendString(protowire.AppendTag(m, 1, protowire.BytesType), in.name)
		m = protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), in.datatype.String())
		for _, n := range in.shape {
			if form == wirePacked {
				m = protowire.AppendBytes(protowire.AppendTag(m, 3, protowire.BytesType), protowire.AppendVarint(nil, uint64(n)))
			} else {
				m = protowire.AppendVarint(protowire.AppendTag(m, 3, protowire.VarintType), uint64(n))
			}
		}
		if form == wireRaw {
			raws = protowire.AppendBytes(protowire.AppendTag(raws, 7, protowire.BytesType), in.raw())
		} else {
			for _, c := range in.contents(form) {
				m = protowire.AppendBytes(protowire.AppendTag(m, 5, protowire.BytesType), c)
			}
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), m)
	}
	return append(b, raws...)
}

// contents are messages InferTensorContents that together have the elements.
func (in tensor) contents(form wireForm) (messages [][]byte) {
	field := datatypes[in.datatype].field
	pieces := [][]uint64{in.bits}
	if form == wireSplit {
		third := len(in.bits) / 3
		pieces = [][]uint64{in.bits[:third], in.bits[third : 2*third], in.bits[2*third:]}
	}
	for k, piece := range pieces {
		var m, packed []byte
		for _, bits := range piece {
			var element []byte
			switch contents[field].typ {
			case protowire.Fixed32Type:
				element = protowire.AppendFixed32(nil, uint32(bits))
			case protowire.Fixed64Type:
				element = protowire.AppendFixed64(nil, bits)
			default:
				if in.datatype == INT8 || in.datatype == INT16 || in.datatype == INT32 {
					bits = uint64(int64(value(in.datatype, bits)))
				}
				element = protowire.AppendVarint(nil, bits)
			}
			packed = append(packed, element...)
			m = append(protowire.AppendTag(m, field, contents[field].typ), element...)
		}
		if form == wirePacked || form == wireSplit && k != 1 {
			m = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), packed)
		}
		messages = append(messages, m)
	}
	return messages
}
