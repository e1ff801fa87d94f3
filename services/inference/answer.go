package inference

import (
	"strconv"

	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/tree"
)

// answerBytes is more than the answer of so many rows takes.
func answerBytes(v *repository.Version, rows int) int {
	number := len("-2.2250738585072014e-308,")
	if v.Summary.Precision == tree.Float32 {
		number = len("-1.1754944e-38,")
	}
	return len(`{"model":"","version":"","outputs":[]}`) + 1 + len(v.Model) + len(v.Name) + rows*(len("[],")+v.Outputs()*number)
}

// appendAnswer encodes the answer to a request: "output" for one row, "outputs" for the rows form.
func appendAnswer(b []byte, v *repository.Version, f form, outputs []float64) []byte {
	b = append(b, `{"model":"`...)
	b = append(b, v.Model...) // names have nothing to escape: repository.validName
	b = append(b, `","version":"`...)
	b = append(b, v.Name...)
	bits := 64
	if v.Summary.Precision == tree.Float32 {
		bits = 32
	}
	if f != formRows {
		b = append(b, `","output":`...)
		b = appendRow(b, outputs, bits)
		return append(b, '}', '\n')
	}
	b = append(b, `","outputs":[`...)
	for n := v.Outputs(); len(outputs) > 0; outputs = outputs[n:] {
		b = appendRow(b, outputs[:n], bits)
		b = append(b, ',')
	}
	b[len(b)-1] = ']'
	return append(b, '}', '\n')
}

func appendRow(b []byte, row []float64, bits int) []byte {
	b = append(b, '[')
	for i, x := range row {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, x, 'g', -1, bits)
	}
	return append(b, ']')
}
