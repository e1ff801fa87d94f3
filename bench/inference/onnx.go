package main

import (
	ort "github.com/yalue/onnxruntime_go"
)

// onnx is ONNX Runtime on one thread, with the tensors of a batch bound once.
type onnx struct {
	model    string
	features int
	rows     []float32
	input    *ort.Tensor[float32]
	output   *ort.Tensor[float32]
	session  *ort.AdvancedSession
	answers  []float64
}

func newONNX(library, model string, c *cases) (*onnx, error) {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(); err != nil {
		return nil, err
	}
	o := &onnx{model: model, features: c.features}
	for _, x := range c.rows {
		o.rows = append(o.rows, float32(x))
	}
	return o, nil
}

func (o *onnx) prepare(batch int) error {
	if o.session != nil {
		if err := o.session.Destroy(); err != nil {
			return err
		}
	}
	inputs, outputs, err := ort.GetInputOutputInfo(o.model)
	if err != nil {
		return err
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(1); err != nil {
		return err
	}
	if err := options.SetInterOpNumThreads(1); err != nil {
		return err
	}
	if o.input, err = ort.NewEmptyTensor[float32](ort.NewShape(int64(batch), int64(o.features))); err != nil {
		return err
	}
	if o.output, err = ort.NewEmptyTensor[float32](ort.NewShape(int64(batch), 1)); err != nil {
		return err
	}
	o.answers = make([]float64, batch)
	o.session, err = ort.NewAdvancedSession(o.model, []string{inputs[0].Name}, []string{outputs[0].Name},
		[]ort.Value{o.input}, []ort.Value{o.output}, options)
	return err
}

func (o *onnx) score(at, batch int) ([]float64, error) {
	copy(o.input.GetData(), o.rows[at*o.features:(at+batch)*o.features])
	if err := o.session.Run(); err != nil {
		return nil, err
	}
	for i, x := range o.output.GetData() {
		o.answers[i] = float64(x)
	}
	return o.answers, nil
}
