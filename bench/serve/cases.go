package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// caseTable is cases.csv: rows as JSON arrays, and the reference library's answers by column.
type caseTable struct {
	rows    []string
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

// bodies makes requests of n rows each that together cover all cases; the last ones wrap around.
func (t *caseTable) bodies(model string, n int) [][]byte {
	var bodies [][]byte
	for first := 0; first < len(t.rows); first += n {
		if n == 1 {
			bodies = append(bodies, fmt.Appendf(nil, `{"model":%q,"input":%s}`, model, t.rows[first]))
			continue
		}
		batch := make([]string, n)
		for i := range batch {
			batch[i] = t.rows[(first+i)%len(t.rows)]
		}
		bodies = append(bodies, fmt.Appendf(nil, `{"model":%q,"inputs":[%s]}`, model, strings.Join(batch, ",")))
	}
	return bodies
}

// verify sends each body once and holds the answers against the reference column.
func (t *caseTable) verify(addr string, bodies [][]byte, n int, column string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	reader := bufio.NewReader(conn)
	want := t.answers[column]
	for i, request := range framed(bodies) {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		body, err := readAnswer(reader)
		if err != nil {
			return err
		}
		var answer struct {
			Output  []float64   `json:"output"`
			Outputs [][]float64 `json:"outputs"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if n == 1 {
			answer.Outputs = [][]float64{answer.Output}
		}
		if len(answer.Outputs) != n {
			return fmt.Errorf("%d rows were answered with %d", n, len(answer.Outputs))
		}
		for k, output := range answer.Outputs {
			row := (i*n + k) % len(want)
			if len(output) != 1 || !(math.Abs(output[0]-want[row]) <= 1e-6) {
				return fmt.Errorf("row %d: answered %v, the reference is %v", row, output, want[row])
			}
		}
	}
	return nil
}
