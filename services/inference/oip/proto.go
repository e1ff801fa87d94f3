package oip

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of InferTensorContents.
const (
	boolContents protowire.Number = iota + 1
	intContents
	int64Contents
	uintContents
	uint64Contents
	fp32Contents
	fp64Contents
	bytesContents
)

// contents is indexed by field.
var contents = [...]struct {
	name string
	typ  protowire.Type // of an element that is not packed
}{
	{},
	{"bool_contents", protowire.VarintType},
	{"int_contents", protowire.VarintType},
	{"int64_contents", protowire.VarintType},
	{"uint_contents", protowire.VarintType},
	{"uint64_contents", protowire.VarintType},
	{"fp32_contents", protowire.Fixed32Type},
	{"fp64_contents", protowire.Fixed64Type},
	{"bytes_contents", protowire.BytesType},
}

// ParseProto reads a ModelInferRequest as protobuf encodes it, and refuses what a protobuf library refuses. Every fault
// is found that can be found without the model; it is an *Error. A field that should come once and comes several times
// means its last value, as it does to the library: what must be UTF-8 must be so each time, all else is held against the
// last alone.
func (r *Request) ParseProto(body []byte, l Limits) error {
	r.Reset()
	r.limits = l
	r.wire = true
	parameters := 0
	err := fields(body, "", func(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
		value, n := message(typ, b)
		if n < 0 {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		var err error
		switch num {
		case 1:
			r.model, err = text("model_name", value)
		case 2:
			r.version, err = text("model_version", value)
		case 3:
			r.id, err = text("id", value)
		case 4:
			err = wireParameter(value, &parameters)
		case 5:
			err = r.wireInput(value)
		case 6:
			err = r.wireOutput(value)
		case 7:
			if len(r.raws) >= r.limits.MaxInputs {
				return n, invalid("more than %d raw_input_contents; expected one an input", r.limits.MaxInputs)
			}
			r.raws = append(r.raws, value)
		}
		return n, err
	})
	if err == nil {
		err = cmp.Or(checkName("model_name", r.model), checkName("model_version", r.version), r.setID(r.id))
	}
	switch {
	case err != nil:
		return err
	case len(r.model) == 0:
		return invalid("model_name is missing")
	case len(r.inputs) == 0:
		return invalid("inputs is empty; expected one tensor %q, or one a feature", InputName)
	case len(r.raws) != 0:
		return r.rawContents()
	}
	return r.typedContents()
}

// fields walks a message. take gets what follows a field's tag and answers how much of it is the field's, or a negative
// number if it is broken.
func fields(b []byte, where string, take func(num protowire.Number, typ protowire.Type, b []byte) (int, error)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return broken(where)
		}
		b = b[n:]
		n, err := take(num, typ, b)
		if err != nil {
			return err
		}
		if n < 0 {
			return broken(where)
		}
		b = b[n:]
	}
	return nil
}

func broken(where string) error {
	if where == "" {
		return invalid("malformed ModelInferRequest")
	}
	return invalid("malformed ModelInferRequest: in %s", where)
}

// message reads the bytes of a field that is a string, a message or packed. n is negative if it is none of these, which
// makes it a field that nobody knows, or if it is broken.
func message(typ protowire.Type, b []byte) (value []byte, n int) {
	if typ != protowire.BytesType {
		return nil, -1
	}
	return protowire.ConsumeBytes(b)
}

func text(field string, value []byte) ([]byte, error) {
	if !utf8.Valid(value) {
		return nil, invalid("%s is not valid UTF-8", field)
	}
	return value, nil
}

func checkName(field string, value []byte) error {
	if len(value) > maxModel {
		return invalid("%s of %d bytes; expected at most %d", field, len(value), maxModel)
	}
	return nil
}

// wireParameter reads an entry of a map of parameters, of which so many have been seen.
func wireParameter(entry []byte, seen *int) error {
	if *seen++; *seen > maxParameterList {
		return invalid("more than %d parameters in one place", maxParameterList)
	}
	var name []byte
	err := fields(entry, "parameters", func(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
		value, n := message(typ, b)
		if n < 0 {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		var err error
		switch num {
		case 1:
			name, err = text("the name of a parameter", value)
		case 2:
			err = parameterValue(value)
		}
		return n, err
	})
	if err != nil {
		return err
	}
	if len(name) == 0 || len(name) > maxParameter {
		return invalid("the name of a parameter has %d bytes; expected 1 to %d", len(name), maxParameter)
	}
	return refuseParameter(name)
}

// parameterValue is only checked for being one.
func parameterValue(b []byte) error {
	const stringParam = 3
	return fields(b, "parameters", func(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
		value, n := message(typ, b)
		if n < 0 || num != stringParam {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		_, err := text("string_param of a parameter", value)
		return n, err
	})
}

func (r *Request) wireOutput(b []byte) error {
	var name []byte
	parameters := 0
	err := fields(b, "outputs", func(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
		value, n := message(typ, b)
		if n < 0 {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		var err error
		switch num {
		case 1:
			name, err = text("the name of an output", value)
		case 2:
			err = wireParameter(value, &parameters)
		}
		return n, err
	})
	if err != nil {
		return err
	}
	return r.selectOutput(name)
}

func (r *Request) wireInput(b []byte) error {
	in, err := r.addInput()
	if err != nil {
		return err
	}
	var datatype []byte
	parameters := 0
	err = fields(b, "inputs", func(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
		if num == 3 && typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			in.addDimension(int64(v))
			return n, nil
		}
		value, n := message(typ, b)
		if n < 0 {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		var err error
		switch num {
		case 1:
			in.name, err = text("the name of an input", value)
			in.has |= hasName // for errors, until it is judged
		case 2:
			datatype, err = text("the datatype of an input", value)
		case 3:
			for len(value) > 0 {
				v, n := protowire.ConsumeVarint(value)
				if n < 0 {
					return n, nil
				}
				in.addDimension(int64(v))
				value = value[n:]
			}
		case 4:
			err = wireParameter(value, &parameters)
		case 5:
			in.typed = true
			err = r.wireContents(value, in)
		}
		return n, err
	})
	if err != nil {
		return err
	}
	in.has &^= hasName
	if len(in.name) == 0 {
		return in.fault("name is missing")
	}
	if err := in.setName(in.name); err != nil {
		return err
	}
	if len(datatype) == 0 {
		return in.fault("datatype is missing")
	}
	if err := in.setDatatype(datatype); err != nil {
		return err
	}
	return in.checkForm()
}

// wireContents reads an InferTensorContents. There may be several of an input, each adding to the one before.
func (r *Request) wireContents(b []byte, in *input) error {
	return fields(b, "contents", func(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
		if num > bytesContents {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		if typ == protowire.BytesType {
			value, n := protowire.ConsumeBytes(b)
			if n < 0 || len(value) == 0 && num != bytesContents {
				return n, nil
			}
			if err := in.noteContents(num); err != nil {
				return n, err
			}
			return n, r.packed(num, in, value)
		}
		if typ != contents[num].typ {
			return protowire.ConsumeFieldValue(num, typ, b), nil
		}
		if err := in.noteContents(num); err != nil {
			return 0, err
		}
		r.spill(in)
		x, n := element(num, b)
		if n >= 0 {
			r.numbers = append(r.numbers, x)
			in.count++
		}
		return n, nil
	})
}

// noteContents remembers which field an input has, of which there may be one.
func (in *input) noteContents(num protowire.Number) error {
	if in.field != 0 && in.field != num {
		return in.fault("contents has %s and %s; expected the one of its datatype", contents[in.field].name, contents[num].name)
	}
	in.field = num
	return nil
}

// packed reads many elements. What is already laid out as raw contents would be is left where it is until Bind.
func (r *Request) packed(num protowire.Number, in *input, value []byte) error {
	size := 0
	switch num {
	case bytesContents:
		return nil
	case fp32Contents:
		size = 4
	case fp64Contents:
		size = 8
	}
	switch {
	case size == 0:
		more := 0
		for _, b := range value {
			if b < 0x80 { // the last of a varint
				more++
			}
		}
		r.numbers = slices.Grow(r.numbers, more)
	case len(value)%size != 0:
		return broken("contents")
	case in.count == 0 && !in.inRaw:
		in.raw, in.inRaw = value, true
		return nil
	default:
		r.spill(in)
		r.numbers = slices.Grow(r.numbers, len(value)/size)
	}
	for len(value) > 0 {
		x, n := element(num, value)
		if n < 0 {
			return broken("contents")
		}
		r.numbers = append(r.numbers, x)
		in.count++
		value = value[n:]
	}
	return nil
}

// spill makes numbers of what was left where it is, since more follows elsewhere.
func (r *Request) spill(in *input) {
	if !in.inRaw {
		return
	}
	d := FP32
	if in.field == fp64Contents {
		d = FP64
	}
	n := len(in.raw) / d.Size()
	r.numbers = slices.Grow(r.numbers, n)[:len(r.numbers)+n]
	d.convert(r.numbers[in.start:], 1, in.raw)
	in.raw, in.inRaw, in.count = nil, false, n
}

// element reads one element. n is negative if it is broken.
func element(num protowire.Number, b []byte) (x float64, n int) {
	switch num {
	case fp32Contents:
		v, n := protowire.ConsumeFixed32(b)
		return float64(math.Float32frombits(v)), n
	case fp64Contents:
		v, n := protowire.ConsumeFixed64(b)
		return math.Float64frombits(v), n
	}
	v, n := protowire.ConsumeVarint(b)
	switch num {
	case boolContents:
		if v != 0 {
			return 1, n
		}
		return 0, n
	case intContents:
		return float64(int32(v)), n
	case int64Contents:
		return float64(int64(v)), n
	case uintContents:
		return float64(uint32(v)), n
	}
	return float64(v), n
}

// rawContents gives each input its bytes.
func (r *Request) rawContents() error {
	if len(r.raws) != len(r.inputs) {
		return invalid("raw_input_contents has %d elements; expected one for each of %d inputs", len(r.raws), len(r.inputs))
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		if in.typed {
			return in.fault("it has contents, and the request has raw_input_contents; expected one of them")
		}
		in.raw, in.inRaw = r.raws[i], true
		if err := r.checkRaw(in); err != nil {
			return err
		}
	}
	return nil
}

// typedContents holds the contents against shape and datatype.
func (r *Request) typedContents() error {
	for i := range r.inputs {
		in := &r.inputs[i]
		expected := datatypes[in.datatype].field
		switch {
		case expected == 0:
			return in.fault("%s travels in raw_input_contents only", in.datatype)
		case in.field != 0 && in.field != expected:
			return in.fault("contents of %s are expected in %s, not in %s", in.datatype, contents[expected].name, contents[in.field].name)
		}
		if in.inRaw {
			in.count = len(in.raw) / in.datatype.Size()
		}
		if err := r.checkCount(in, in.count, contents[expected].name); err != nil {
			return err
		}
		if in.datatype.float() {
			continue
		}
		values := r.numbers[in.start : in.start+in.count]
		if bad := settle(values, in.datatype); bad >= 0 {
			return in.fault("element %d of %s %s", bad, contents[expected].name, unsettled(values[bad], in.datatype))
		}
	}
	return nil
}
