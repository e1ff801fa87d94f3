package report

import (
	"io"

	"github.com/dougong-io/dougong/prove/fault"
)

// WriteFaultsJSON writes the result of a run with faults as one line.
func WriteFaultsJSON(w io.Writer, r *fault.Result) error { return writeJSON(w, r) }

// ReadFaultsJSON reads what WriteFaultsJSON wrote, and refuses what ReadJSON would.
func ReadFaultsJSON(r io.Reader) (*fault.Result, error) {
	return read[fault.Result](r, fault.ResultSchema, MaxBytes)
}
