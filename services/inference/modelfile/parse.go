package modelfile

import (
	"bytes"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// Parse reads a model file. The format is detected from the content; name appears in messages only.
// The error is an *Error and matches ErrUnsupported or ErrDamaged. The ensemble keeps no reference
// to data.
func Parse(name string, data []byte) (*tree.Ensemble, error) {
	ensemble, err := parse(data)
	if err != nil {
		if e, ok := err.(*Error); ok {
			e.File = name
		}
		return nil, err
	}
	return ensemble, nil
}

func parse(data []byte) (*tree.Ensemble, error) {
	start := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(start) == 0:
		return nil, damaged(0, "the file is empty")
	case bytes.HasPrefix(data, []byte("tree\n")):
		return parseLightGBM(data)
	case bytes.HasPrefix(data, []byte("tree\r\n")):
		// LightGBM finds trees by the byte counts in tree_sizes, and fails on such a file too.
		return nil, &Error{Offset: len("tree"), Line: 1, Kind: ErrDamaged,
			Msg: "lines end in CR LF where LightGBM writes LF: the file was converted on its way here (copy it as binary)"}
	case bytes.HasPrefix(data, []byte("binf")), bytes.HasPrefix(data, []byte("bs64")):
		return nil, unsupported(0, "XGBoost's binary format (load the model and save it as .json or .ubj)")
	case len(data) > 1 && data[0] == '{' && isLengthMarker(data[1]):
		return parseXGBoost("xgboost-ubj", newUBJSON(data))
	case start[0] == '{':
		return parseXGBoost("xgboost-json", newJSON(data))
	}
	return nil, unsupported(0, "neither an XGBoost JSON or UBJSON model nor a LightGBM text model")
}
