package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/dougong-io/dougong/prove/load"
)

// MaxBytes is the size of the largest result that ReadJSON reads. A day's run with 900 intervals has some 10 MB.
const MaxBytes = 128 << 20

//go:embed load-result.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of what WriteJSON writes. The caller may keep and change it.
func Schema() []byte { return bytes.Clone(schema) }

// WriteJSON writes r in the published format, as one line.
func WriteJSON(w io.Writer, r *load.Result) error { return writeJSON(w, r) }

func writeJSON[Result any](w io.Writer, r *Result) error {
	data, err := marshal(r)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write result as JSON: %w", err)
	}
	return nil
}

// marshal escapes <, > and &, so what it returns may stand in a page.
func marshal[Result any](r *Result) ([]byte, error) {
	if r == nil {
		return nil, errors.New("write result: there is none")
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write result as JSON: %w", err)
	}
	return data, nil
}

// ReadJSON reads what WriteJSON wrote. It refuses a result of another schema, with fields it does not know, larger
// than MaxBytes, or with something after it: a report of half a result would mislead.
func ReadJSON(r io.Reader) (*load.Result, error) {
	return read[load.Result](r, load.ResultSchema, MaxBytes)
}

func read[Result any](r io.Reader, schema string, limit int64) (*Result, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read result: it is larger than %d bytes", limit)
	}
	// The schema first: that a field is unknown says little about a file of another kind.
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	if head.Schema != schema {
		return nil, fmt.Errorf("read result: its schema is %q; this version reads %q", head.Schema, schema)
	}
	result := new(Result)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(result); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	return result, nil
}
