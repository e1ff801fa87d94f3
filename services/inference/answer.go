package inference

import (
	"strconv"

	"github.com/dougong-io/dougong/services/inference/tree"
)

func (r *predictRequest) answerBytes(v *served) int {
	number := len("-2.2250738585072014e-308,")
	if v.Summary.Precision == tree.Float32 {
		number = len("-1.00000001e-38,")
	}
	return len(`{"model":"","version":"","outputs":[]}`) + 1 + len(v.Model) + len(v.Name) + r.rows*(len("[],")+v.Outputs()*number)
}

// appendAnswer: "output" for one row, "outputs" for the rows form.
func (r *predictRequest) appendAnswer(b []byte, v *served, outputs []float64) (answer []byte, header int) {
	b = append(b, `{"model":"`...)
	b = append(b, v.Model...) // names have nothing to escape: repository.validName
	b = append(b, `","version":"`...)
	b = append(b, v.Name...)
	bits := 64
	if v.Summary.Precision == tree.Float32 {
		bits = 32
	}
	if r.form != formRows {
		b = append(b, `","output":`...)
		b = appendRow(b, outputs, bits)
		return append(b, '}', '\n'), -1
	}
	b = append(b, `","outputs":[`...)
	for n := v.Outputs(); len(outputs) > 0; outputs = outputs[n:] {
		b = appendRow(b, outputs[:n], bits)
		b = append(b, ',')
	}
	b[len(b)-1] = ']'
	return append(b, '}', '\n'), -1
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
