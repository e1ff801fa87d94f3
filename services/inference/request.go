package inference

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/dougong-io/dougong/services/inference/jsonscan"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/tree"
)

// form is which of its three forms a request has.
type form uint8

const (
	formNone     form = iota
	formRow           // {"input":[…]}
	formRows          // {"inputs":[[…],…]}
	formFeatures      // {"features":{"name":value,…}}
)

func (f form) String() string {
	return [...]string{"", "input", "inputs", "features"}[f]
}

// predictRequest is the parsed body of POST /v1/predict. It is reused: reset after each request. Its byte
// slices point into the body.
type predictRequest struct {
	model, version []byte
	form           form
	values         []float64 // rows one behind another, NaN where a value is missing
	width          int       // values a row
	rows           int
	features       int // formFeatures: offset of the object, read once the model is known
	maxRows        int
	hasModel       bool
	hasVersion     bool
}

// badRequest is a fault of the caller; its text is the problem's detail.
type badRequest struct {
	code   string
	status int
	msg    string
}

func (e *badRequest) Error() string { return e.msg }

func malformed(format string, args ...any) error {
	return &badRequest{code: CodeInvalidRequest, status: 400, msg: fmt.Sprintf(format, args...)}
}

// reset forgets everything but the memory of the values.
func (r *predictRequest) reset() { *r = predictRequest{values: r.values[:0]} }

// parse reads a whole body. It finds every fault that can be found without knowing the model.
func (r *predictRequest) parse(body []byte, maxRows int) error {
	r.maxRows = maxRows
	s := jsonscan.New(body)
	if err := r.document(&s); err != nil {
		var fault *jsonscan.Error
		if errors.As(err, &fault) {
			return malformed("the body is not a prediction request: %v", fault)
		}
		return err
	}
	if r.form == formNone {
		return malformed(`expected one of "input" (a row), "inputs" (rows) or "features" (values by name)`)
	}
	return nil
}

func (r *predictRequest) document(s *jsonscan.Scanner) error {
	if err := s.Expect('{', "an object"); err != nil {
		return err
	}
	if s.Peek() == '}' {
		return s.Expect('}', "'}'")
	}
	for more := true; more; {
		key, err := s.String()
		if err != nil {
			return err
		}
		if err := s.Expect(':', "':'"); err != nil {
			return err
		}
		if err := r.member(s, key); err != nil {
			return err
		}
		if more, err = s.Next('}'); err != nil {
			return err
		}
	}
	return s.End()
}

func (r *predictRequest) member(s *jsonscan.Scanner, key []byte) (err error) {
	switch string(key) {
	case "input":
		if err := r.take(formRow); err != nil {
			return err
		}
		r.rows = 1
		r.values, err = s.Numbers(r.values)
		r.width = len(r.values)
		return err
	case "inputs":
		if err := r.take(formRows); err != nil {
			return err
		}
		return r.matrix(s)
	case "features":
		if err := r.take(formFeatures); err != nil {
			return err
		}
		if s.Peek() != '{' {
			return s.Expect('{', `an object of values by name in "features"`)
		}
		r.rows, r.features = 1, s.Offset()
		return s.Skip()
	case "model":
		return once(&r.hasModel, "model", func() (err error) { r.model, err = s.String(); return err })
	case "version":
		return once(&r.hasVersion, "version", func() (err error) { r.version, err = versionName(s); return err })
	}
	return malformed("unknown field %.64q; known are model, version, input, inputs, features", key)
}

// take notes the request's form, of which there may be one.
func (r *predictRequest) take(f form) error {
	if r.form == f {
		return malformed("field %q appears twice", f)
	}
	if r.form != formNone {
		return malformed("expected only one of input, inputs and features; found %s and %s", r.form, f)
	}
	r.form = f
	return nil
}

func once(seen *bool, field string, read func() error) error {
	if *seen {
		return malformed("field %q appears twice", field)
	}
	*seen = true
	return read()
}

// versionName accepts "1" and, since many write it so, 1.
func versionName(s *jsonscan.Scanner) ([]byte, error) {
	if s.Peek() == '"' {
		return s.String()
	}
	start := *s
	n, err := s.Number()
	if err != nil {
		return nil, err
	}
	if n != math.Trunc(n) || n < 0 || n > 1<<53 {
		return nil, start.Fault("a version is a string")
	}
	return fmt.Appendf(nil, "%d", int64(n)), nil
}

func (r *predictRequest) matrix(s *jsonscan.Scanner) error {
	if err := s.Expect('[', "an array of rows"); err != nil {
		return err
	}
	if s.Peek() == ']' {
		return malformed("inputs is empty; expected at least one row")
	}
	for more := true; more; {
		before := len(r.values)
		var err error
		if r.values, err = s.Numbers(r.values); err != nil {
			return err
		}
		width := len(r.values) - before
		if r.rows == 0 {
			r.width = width
		} else if width != r.width {
			return malformed("inputs[%d] has %d values, inputs[0] has %d; rows must be of one length", r.rows, width, r.width)
		}
		if r.rows++; r.rows > r.maxRows {
			return &badRequest{code: CodeTooManyRows, status: 413, msg: fmt.Sprintf("more than %d rows; send them in several requests", r.maxRows)}
		}
		if more, err = s.Next(']'); err != nil {
			return err
		}
	}
	return nil
}

// value reads a number, or null for a missing one.
func value(s *jsonscan.Scanner) (float64, error) {
	if s.Peek() == 'n' {
		return math.NaN(), s.Null()
	}
	return s.Number()
}

func (r *predictRequest) wanted() wanted {
	return wanted{model: text(r.model), version: text(r.version), hasModel: r.hasModel, hasVersion: r.hasVersion}
}

func (r *predictRequest) table() (values []float64, rows int) { return r.values, r.rows }

// bind makes the values rows of the model: looks features up by name, and checks lengths and ranges.
func (r *predictRequest) bind(v *served, body []byte) error {
	if r.form == formFeatures {
		s := jsonscan.New(body)
		s = s.At(r.features)
		if err := r.named(&s, v.Version); err != nil {
			var fault *jsonscan.Error
			if errors.As(err, &fault) {
				return malformed("features: %v", fault)
			}
			return err
		}
	}
	if r.width != v.Features() {
		what := "input has"
		if r.form == formRows {
			what = "each of inputs has"
		}
		return malformed("%s %d values; model %s version %s expects %d: %s", what, r.width, v.Model, v.Name, v.Features(), firstNames(v.Version))
	}
	if v.Summary.Precision == tree.Float32 {
		for i, x := range r.values {
			if x >= beyondFloat32 || x <= -beyondFloat32 { // NaN is neither
				return malformed("row %d, %s: %g is out of float32 range, in which model %s computes", i/r.width, v.Manifest.Inputs[i%r.width], x, v.Model)
			}
		}
	}
	return nil
}

// beyondFloat32 is the smallest float64 that rounds to an infinite float32: half a unit in the last place
// above the largest finite one.
const beyondFloat32 = 0x1.ffffffp127

// named reads {"name":value,…} into one row. What is absent is missing.
func (r *predictRequest) named(s *jsonscan.Scanner, v *repository.Version) error {
	r.width = v.Features()
	for range r.width {
		r.values = append(r.values, absent)
	}
	if err := s.Expect('{', "an object"); err != nil {
		return err
	}
	if s.Peek() != '}' {
		for more := true; more; {
			name, err := s.String()
			if err != nil {
				return err
			}
			column, ok := v.Column(string(name))
			if !ok {
				return malformed("unknown feature %.64q; model %s version %s expects %s", name, v.Model, v.Name, firstNames(v))
			}
			if math.Float64bits(r.values[column]) != absentBits {
				return malformed("feature %q appears twice", name)
			}
			if err := s.Expect(':', "':'"); err != nil {
				return err
			}
			if r.values[column], err = value(s); err != nil {
				return err
			}
			if more, err = s.Next('}'); err != nil {
				return err
			}
		}
	}
	return nil
}

// absent marks a feature that was not named yet: a NaN, and so a missing value to the model, that
// differs from the NaN of a null.
var absent = math.Float64frombits(absentBits)

const absentBits = 0x7FF8_0000_0000_0A85

// firstNames lists a model's features as far as a person reads them.
func firstNames(v *repository.Version) string {
	const most = 8
	var b bytes.Buffer
	for i, name := range v.Manifest.Inputs {
		if i == most {
			fmt.Fprintf(&b, " and %d more; GET /v1/models/%s lists them", len(v.Manifest.Inputs)-most, v.Model)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name)
	}
	return b.String()
}
