package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/dougong-io/dougong/services/inference/modelfile"
	"github.com/dougong-io/dougong/services/inference/tree"
)

// cases are rows with the answers that the training library gave them.
type cases struct {
	features int
	rows     []float64 // row-major; NaN where a cell is empty
	expected []float64 // row-major, an output for each column asked for
}

func (c *cases) len() int { return len(c.rows) / c.features }

// readCases reads a file whose first columns are the features; the expected answers are in the
// columns of those names.
func readCases(path string, features int, expected ...string) (*cases, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(records) < 2 || len(records[0]) < features {
		return nil, fmt.Errorf("%s: no rows of %d features", path, features)
	}
	columns := make([]int, 0, features+len(expected))
	for i := range features {
		columns = append(columns, i)
	}
	for _, name := range expected {
		i := slices.Index(records[0], name)
		if i < 0 {
			return nil, fmt.Errorf("%s: no column %q", path, name)
		}
		columns = append(columns, i)
	}
	c := &cases{features: features}
	for line, record := range records[1:] {
		for i, column := range columns {
			x := math.NaN()
			if cell := record[column]; cell != "" {
				if x, err = strconv.ParseFloat(cell, 64); err != nil {
					return nil, fmt.Errorf("%s: line %d: %w", path, line+2, err)
				}
			}
			if i < features {
				c.rows = append(c.rows, x)
			} else {
				c.expected = append(c.expected, x)
			}
		}
	}
	return c, nil
}

// writeRows writes the rows as the peers read them: the numbers of rows and of features as int32, and
// the values as float32, in the machine's order.
func (c *cases) writeRows(path string) error {
	var b bytes.Buffer
	b.Write(binary.NativeEndian.AppendUint32(nil, uint32(c.len())))
	b.Write(binary.NativeEndian.AppendUint32(nil, uint32(c.features)))
	for _, x := range c.rows {
		b.Write(binary.NativeEndian.AppendUint32(nil, math.Float32bits(float32(x))))
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// readModel reads and compiles a model.
func readModel(path string) (*tree.Ensemble, *tree.Model, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	e, err := modelfile.Parse(path, text)
	if err != nil {
		return nil, nil, err
	}
	m, err := tree.Compile(e)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, m, nil
}

// flatten writes the trees of an XGBoost model for peer/onedal.cpp: the number of trees, and for each
// its number of nodes and a line a node: feature (-1 for a leaf), default left, children, value.
func flatten(w io.Writer, e *tree.Ensemble) {
	fmt.Fprintln(w, len(e.Trees))
	for _, t := range e.Trees {
		fmt.Fprintln(w, len(t.Nodes))
		for _, n := range t.Nodes {
			if n.Split == tree.Leaf {
				fmt.Fprintf(w, "-1 0 0 0 %x\n", n.Value)
				continue
			}
			left := 0
			if n.DefaultLeft {
				left = 1
			}
			fmt.Fprintf(w, "%d %d %d %d %x\n", n.Feature, left, n.Left, n.Right, n.Threshold)
		}
	}
}
