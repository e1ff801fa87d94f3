package tree

import "fmt"

// Model is an ensemble compiled for speed. It is immutable and safe for concurrent use.
type Model struct {
	features int
	outputs  int
	engine   interface {
		predict(dst, rows []float64)
	}
}

// Compile checks an ensemble and compiles it. The model keeps nothing of e.
// An ensemble that is not one (cycles, indices out of range, NaN thresholds) is refused with an
// error that wraps [ErrMalformed] and names the tree and the node.
func Compile(e *Ensemble) (*Model, error) {
	return compile(e, kernels{})
}

// compile is Compile with given kernels; those that are not given are chosen.
func compile(e *Ensemble, k kernels) (*Model, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	m := &Model{features: len(e.Features), outputs: e.Outputs}
	if e.Precision == Float32 {
		m.engine = newEngine[uint32, float32](e, k)
	} else {
		m.engine = newEngine[uint64, float64](e, k)
	}
	return m, nil
}

// Features is the number of values in a row.
func (m *Model) Features() int { return m.features }

// Outputs is the number of values a row is answered with.
func (m *Model) Outputs() int { return m.outputs }

// Predict scores len(dst)/Outputs rows. rows holds them one after the other, Features values each,
// NaN where a value is missing; dst receives Outputs values for each. A Float32 model rounds values
// to float32 first, as XGBoost does, and one beyond its range compares as an infinity.
//
// It allocates nothing in the steady state, and fails only if the lengths do not fit each other; dst
// is then untouched.
func (m *Model) Predict(dst, rows []float64) error {
	n := len(dst) / m.outputs
	if n*m.outputs != len(dst) || n*m.features != len(rows) {
		return fmt.Errorf("predict: %d values of input and %d of output are not whole rows of %d features and %d outputs",
			len(rows), len(dst), m.features, m.outputs)
	}
	m.engine.predict(dst, rows)
	return nil
}
