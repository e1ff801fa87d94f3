package main

import "github.com/dougong-io/dougong/services/inference/tree"

// ours is package tree.
type ours struct {
	model *tree.Model
	rows  []float64
	dst   []float64
}

func newOurs(model string, c *cases) (*ours, error) {
	_, m, err := readModel(model)
	return &ours{model: m, rows: c.rows}, err
}

func (o *ours) prepare(batch int) error {
	o.dst = make([]float64, batch)
	return nil
}

func (o *ours) score(at, batch int) ([]float64, error) {
	f := o.model.Features()
	return o.dst, o.model.Predict(o.dst, o.rows[at*f:(at+batch)*f])
}
