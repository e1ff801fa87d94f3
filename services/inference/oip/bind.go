package oip

import (
	"slices"
	"unsafe"
)

// beyondFloat32 is the smallest float64 that rounds to an infinite float32: half a unit in the last place above the
// largest finite one.
const beyondFloat32 = 0x1.ffffffp127

// Bind makes the tensors rows of the model: finds the features, and checks what only the model can tell. It is called
// once after a Parse. Its errors are *Error.
func (r *Request) Bind(sig *Signature) error {
	if err := r.checkOutput(sig); err != nil {
		return err
	}
	var err error
	switch {
	case len(r.inputs) == 1 && r.inputs[0].whole:
		if err = r.inputs[0].shapeFor(sig); err == nil {
			err = r.bindTensor(sig)
		}
	case len(r.inputs) == 1 && string(r.inputs[0].name) == sig.input() && !(len(sig.Features) == 1 && sig.Features[0] == sig.input()):
		err = r.bindTensor(sig)
	default:
		err = r.bindColumns(sig)
	}
	if err != nil {
		return err
	}
	return r.checkRange(sig)
}

// shapeFor reads the whole body as rows of the model.
func (in *input) shapeFor(sig *Signature) error {
	row := len(sig.Features) * sig.Datatype.Size()
	if len(in.raw) == 0 || len(in.raw)%row != 0 {
		return in.fault("the body has %d bytes; a row of model %s version %s takes %d, which are %d values of %s",
			len(in.raw), sig.Model, sig.Version, row, len(sig.Features), sig.Datatype)
	}
	in.datatype, in.rank = sig.Datatype, 2
	in.shape = [2]int64{int64(len(in.raw) / row), int64(len(sig.Features))}
	return nil
}

// bindTensor takes one tensor for all features.
func (r *Request) bindTensor(sig *Signature) error {
	in := &r.inputs[0]
	rows, width := int64(1), in.shape[0]
	if in.rank == 2 {
		rows, width = in.shape[0], in.shape[1]
	}
	if width != int64(len(sig.Features)) {
		return in.fault("shape is %s; model %s version %s expects [rows, %d]: %s", in.shapeText(), sig.Model, sig.Version, len(sig.Features), sig.firstNames())
	}
	if rows > int64(r.limits.MaxRows) {
		return tooManyRows(r.limits.MaxRows)
	}
	r.boundRows = int(rows)
	if !in.inRaw {
		r.bound = r.numbers[in.start : in.start+in.count]
		return nil
	}
	r.makeRows(sig)
	if in.datatype == FP32 {
		in.finite = !float32s(r.rows, in.raw)
	} else {
		in.datatype.convert(r.rows, 1, in.raw)
	}
	return nil
}

// makeRows has room for boundRows, their values left over from another request.
func (r *Request) makeRows(sig *Signature) {
	n := r.boundRows * len(sig.Features)
	r.rows = slices.Grow(r.rows[:0], n)[:n]
	r.bound = r.rows
}

// bindColumns takes a tensor a feature.
func (r *Request) bindColumns(sig *Signature) error {
	first := &r.inputs[0]
	rows := first.shape[0]
	words := (len(sig.Features) + 63) / 64
	r.seen = slices.Grow(r.seen[:0], words)[:words]
	clear(r.seen)
	for i := range r.inputs {
		in := &r.inputs[i]
		column, ok := sig.column(i, in.name)
		if !ok {
			return r.unknownInput(in, sig)
		}
		if r.seen[column/64]>>(column%64)&1 != 0 {
			return in.fault("it appears twice")
		}
		r.seen[column/64] |= 1 << (column % 64)
		if in.rank == 2 && in.shape[1] != 1 {
			return in.fault("shape is %s; a feature's is [rows] or [rows, 1]", in.shapeText())
		}
		if in.shape[0] != rows {
			return in.fault("it has %d rows, %s has %d; expected as many in each", in.shape[0], first.label(), rows)
		}
	}
	if len(r.inputs) < len(sig.Features) {
		return r.missingInput(sig)
	}
	if rows > int64(r.limits.MaxRows) {
		return tooManyRows(r.limits.MaxRows)
	}
	r.boundRows = int(rows)
	r.makeRows(sig)
	for i := range r.inputs {
		in := &r.inputs[i]
		column, _ := sig.column(i, in.name)
		if in.inRaw {
			in.datatype.convert(r.rows[column:], len(sig.Features), in.raw)
			continue
		}
		for row, x := range r.numbers[in.start : in.start+in.count] {
			r.rows[row*len(sig.Features)+column] = x
		}
	}
	return nil
}

// column finds a feature. Most clients send the inputs in the order of a row.
func (sig *Signature) column(i int, name []byte) (int, bool) {
	if i < len(sig.Features) && sig.Features[i] == string(name) {
		return i, true
	}
	return sig.Column(unsafe.String(unsafe.SliceData(name), len(name))) // which does not keep it
}

func (r *Request) unknownInput(in *input, sig *Signature) error {
	if string(in.name) == sig.input() {
		return invalid("%s is one of %d inputs; expected it alone, or one input a feature", in.label(), len(r.inputs))
	}
	return invalid("unknown %s; model %s version %s expects %q of shape [rows, %d], or one input a feature: %s",
		in.label(), sig.Model, sig.Version, sig.input(), len(sig.Features), sig.firstNames())
}

func (r *Request) missingInput(sig *Signature) error {
	column := 0
	for r.seen[column/64]>>(column%64)&1 != 0 {
		column++
	}
	return invalid("input %s is missing; model %s version %s expects %d features, the request has %d",
		quote([]byte(sig.Features[column])), sig.Model, sig.Version, len(sig.Features), len(r.inputs))
}

// checkRange refuses what a model that computes in float32 cannot hold.
func (r *Request) checkRange(sig *Signature) error {
	if sig.Datatype != FP32 {
		return nil
	}
	possible := false
	for i := range r.inputs {
		in := &r.inputs[i]
		possible = possible || in.datatype == FP64 || in.datatype.float() && !in.finite
	}
	if !possible {
		return nil
	}
	for i, x := range r.bound {
		if x >= beyondFloat32 || x <= -beyondFloat32 { // NaN is neither
			return invalid("row %d, %s: %v is out of float32 range, in which model %s computes",
				i/len(sig.Features), quote([]byte(sig.Features[i%len(sig.Features)])), x, sig.Model)
		}
	}
	return nil
}
