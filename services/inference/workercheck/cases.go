package workercheck

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// tensorJSON is a tensor of a file of cases: data flat, in row-major order.
type tensorJSON struct {
	Name     string            `json:"name"`
	Datatype wire.Datatype     `json:"datatype"`
	Shape    []int64           `json:"shape"`
	Data     []json.RawMessage `json:"data"`
}

// ReadCases reads a file of cases:
//
//	{"tolerance": 1e-5,
//	 "cases": [{"inputs":  [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, null]}],
//	            "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}],
//	 "slow": [tensors of a call that computes for a second or more]}
//
// Elements are numbers, booleans for BOOL, strings for BYTES; null is NaN. FP16 and BF16 are given as their 16 bits.
func ReadCases(r io.Reader) (Cases, error) {
	var file struct {
		Tolerance float64 `json:"tolerance"`
		Cases     []struct {
			Inputs  []tensorJSON `json:"inputs"`
			Outputs []tensorJSON `json:"outputs"`
		} `json:"cases"`
		Slow []tensorJSON `json:"slow"`
	}
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return Cases{}, fmt.Errorf("cases: %w", err)
	}
	c := Cases{Tolerance: file.Tolerance}
	var faults []error
	read := func(where string, list []tensorJSON) []wire.Tensor {
		var tensors []wire.Tensor
		for k := range list {
			t, err := list[k].tensor()
			if err != nil {
				faults = append(faults, fmt.Errorf("%s[%d]: %w", where, k, err))
			}
			tensors = append(tensors, t)
		}
		return tensors
	}
	for i, one := range file.Cases {
		c.Cases = append(c.Cases, Case{read(fmt.Sprintf("cases[%d].inputs", i), one.Inputs), read(fmt.Sprintf("cases[%d].outputs", i), one.Outputs)})
	}
	c.Slow = read("slow", file.Slow)
	if err := errors.Join(append(faults, c.check())...); err != nil {
		return Cases{}, err
	}
	return c, nil
}

func (c *Cases) check() error {
	var faults []error
	if len(c.Cases) == 0 {
		faults = append(faults, errors.New("cases: there must be at least one"))
	}
	for i, one := range c.Cases {
		if len(one.Inputs) == 0 || len(one.Outputs) == 0 {
			faults = append(faults, fmt.Errorf("cases[%d]: inputs and outputs must be there", i))
		}
		for _, t := range append(append([]wire.Tensor(nil), one.Inputs...), one.Outputs...) {
			if err := t.Check(); err != nil {
				faults = append(faults, fmt.Errorf("cases[%d]: %w", i, err))
			}
		}
	}
	return errors.Join(faults...)
}

func (j *tensorJSON) tensor() (wire.Tensor, error) {
	t := wire.Tensor{Name: []byte(j.Name), Datatype: j.Datatype, Shape: j.Shape}
	for i, raw := range j.Data {
		var err error
		if t.Data, err = appendElement(t.Data, j.Datatype, raw); err != nil {
			return t, fmt.Errorf("%.40q: element %d: %w", j.Name, i, err)
		}
	}
	return t, t.Check()
}

func appendElement(b []byte, d wire.Datatype, raw json.RawMessage) ([]byte, error) {
	text := string(raw)
	switch d {
	case wire.BYTES:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return b, err
		}
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...), nil
	case wire.BOOL:
		switch text {
		case "true":
			return append(b, 1), nil
		case "false":
			return append(b, 0), nil
		}
		return b, fmt.Errorf("%.40s is neither true nor false", text)
	case wire.FP32, wire.FP64:
		v := math.NaN()
		if text != "null" {
			var err error
			if v, err = strconv.ParseFloat(text, 64); err != nil {
				return b, err
			}
		}
		if d == wire.FP32 {
			return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v))), nil
		}
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v)), nil
	}
	bits := 8 * d.Size()
	var v uint64
	switch d {
	case wire.INT8, wire.INT16, wire.INT32, wire.INT64:
		signed, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return b, err
		}
		v = uint64(signed)
	default:
		var err error
		if v, err = strconv.ParseUint(text, 10, bits); err != nil {
			return b, err
		}
	}
	whole := binary.LittleEndian.AppendUint64(nil, v)
	return append(b, whole[:d.Size()]...), nil
}

// differs says where got is not what was wanted.
func differs(want, got wire.Tensor, tolerance float64) string {
	if want.Datatype != got.Datatype || fmt.Sprint(want.Shape) != fmt.Sprint(got.Shape) {
		return fmt.Sprintf("%s is %v %d, not %v %d", want.Name, got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	number := func(b []byte, i int) float64 {
		if want.Datatype == wire.FP32 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	if want.Datatype == wire.FP32 || want.Datatype == wire.FP64 {
		for i := range len(want.Data) / want.Datatype.Size() {
			w, g := number(want.Data, i), number(got.Data, i)
			if w != g && !(math.IsNaN(w) && math.IsNaN(g)) && !(math.Abs(w-g) <= tolerance) {
				return fmt.Sprintf("%s: element %d is %v, not %v", want.Name, i, g, w)
			}
		}
		return ""
	}
	if string(want.Data) != string(got.Data) {
		return fmt.Sprintf("%s: the data is not what was expected", want.Name)
	}
	return ""
}

// rows joins n rows of the cases, one after another and again from the first, where each tensor has them as its first
// dimension; ok is false where it has not.
func (c *Cases) rows(n int) (joined Case, ok bool) {
	first := c.Cases[0]
	for _, side := range []struct {
		of   func(Case) []wire.Tensor
		into *[]wire.Tensor
	}{{func(c Case) []wire.Tensor { return c.Inputs }, &joined.Inputs}, {func(c Case) []wire.Tensor { return c.Outputs }, &joined.Outputs}} {
		for k, model := range side.of(first) {
			t := wire.Tensor{Name: model.Name, Datatype: model.Datatype}
			if len(model.Shape) == 0 || model.Datatype == wire.BYTES {
				return joined, false
			}
			t.Shape = append([]int64{int64(n)}, model.Shape[1:]...)
			for i := range n {
				one := side.of(c.Cases[i%len(c.Cases)])
				if k >= len(one) || string(one[k].Name) != string(model.Name) || len(one[k].Shape) == 0 || one[k].Shape[0] < 1 || fmt.Sprint(one[k].Shape[1:]) != fmt.Sprint(model.Shape[1:]) {
					return joined, false
				}
				t.Data = append(t.Data, one[k].Data[:len(one[k].Data)/int(one[k].Shape[0])]...)
			}
			*side.into = append(*side.into, t)
		}
	}
	return joined, true
}
