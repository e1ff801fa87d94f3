package main

import (
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// caseTable is cases.csv: rows as JSON arrays, and the reference library's answers by column.
type caseTable struct {
	rows    []string
	values  [][]float64
	answers map[string][]float64
}

const features = 72

func readCases(file string) (*caseTable, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	t := &caseTable{answers: map[string][]float64{}}
	for _, record := range records[1:] {
		cells := make([]string, features)
		for i := range cells {
			if cells[i] = record[i]; cells[i] == "" {
				cells[i] = "null"
			}
		}
		row := make([]float64, features)
		for i, cell := range cells {
			if row[i] = math.NaN(); cell != "null" {
				if row[i], err = strconv.ParseFloat(cell, 64); err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
			}
		}
		t.values = append(t.values, row)
		t.rows = append(t.rows, "["+strings.Join(cells, ",")+"]")
		for i := features; i < len(record); i++ {
			v, err := strconv.ParseFloat(record[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			t.answers[records[0][i]] = append(t.answers[records[0][i]], v)
		}
	}
	return t, nil
}

// batches calls do for batches of n rows each that together cover all cases; the last one wraps around.
func (t *caseTable) batches(n int, do func(rows []int)) {
	for first := 0; first < len(t.rows); first += n {
		batch := make([]int, n)
		for i := range batch {
			batch[i] = (first + i) % len(t.rows)
		}
		do(batch)
	}
}

// tensor is rows as FP32, little-endian.
func (t *caseTable) tensor(rows []int) []byte {
	var b []byte
	for _, row := range rows {
		for _, v := range t.values[row] {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		}
	}
	return b
}

// check holds the answers to a batch against the reference column.
func (t *caseTable) check(column string, rows []int, got []float64) error {
	if len(got) != len(rows) {
		return fmt.Errorf("%d rows were answered with %d", len(rows), len(got))
	}
	for i, row := range rows {
		if want := t.answers[column][row]; !(math.Abs(got[i]-want) <= 1e-6) {
			return fmt.Errorf("row %d: answered %v, the reference is %v", row, got[i], want)
		}
	}
	return nil
}
