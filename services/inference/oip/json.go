package oip

import (
	"math"

	"github.com/dougong-io/dougong/services/inference/jsonscan"
)

// ParseJSON reads the body of a POST …/infer. The JSON is its first header bytes, and binary tensors follow; header is -1
// if there is no Inference-Header-Content-Length, and all of it is JSON. If it is 0 the body is the one input's tensor, in
// the datatype and width of the model (Triton's raw binary request). Every fault is found that can be found without
// the model; it is an *Error.
func (r *Request) ParseJSON(body []byte, header int, l Limits) error {
	r.Reset()
	r.limits = l
	if header == 0 {
		return r.rawBody(body)
	}
	var err error
	switch {
	case header == -1:
		err = r.parseText(body)
	case header < 0 || header > len(body):
		return invalid("Inference-Header-Content-Length is %d; the body has %d bytes", header, len(body))
	default:
		err = r.parseHead(body[:header])
	}
	if err != nil {
		return err
	}
	return r.binaryTensors(body, header)
}

// rawBody takes a body that is a tensor and nothing else.
func (r *Request) rawBody(body []byte) error {
	in, err := r.addInput()
	if err != nil {
		return err
	}
	in.raw, in.inRaw, in.whole = body, true, true
	return in.setName([]byte(InputName))
}

// object reads the members of an object.
func object(s *jsonscan.Scanner, what string, member func(key []byte) error) error {
	if err := s.Expect('{', what); err != nil {
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
		if err := member(key); err != nil {
			return err
		}
		if more, err = s.Next('}'); err != nil {
			return err
		}
	}
	return nil
}

// array reads the elements of an array.
func array(s *jsonscan.Scanner, what string, element func() error) error {
	if err := s.Expect('[', what); err != nil {
		return err
	}
	if s.Peek() == ']' {
		return s.Expect(']', "']'")
	}
	for more := true; more; {
		if err := element(); err != nil {
			return err
		}
		var err error
		if more, err = s.Next(']'); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) document(s *jsonscan.Scanner) error {
	var hasID, hasParameters, hasInputs, hasOutputs bool
	err := object(s, "an object", func(key []byte) error {
		switch string(key) {
		case "id":
			if err := once(&hasID, "id"); err != nil {
				return err
			}
			if s.Peek() == 'n' {
				return s.Null()
			}
			id, err := s.String()
			if err != nil {
				return malformed("id", err)
			}
			return r.setID(id)
		case "parameters":
			if err := once(&hasParameters, "parameters"); err != nil {
				return err
			}
			return malformed("parameters", r.requestParameters(s))
		case "inputs":
			if err := once(&hasInputs, "inputs"); err != nil {
				return err
			}
			return malformed("inputs", array(s, "an array of inputs", func() error { return r.jsonInput(s) }))
		case "outputs":
			if err := once(&hasOutputs, "outputs"); err != nil {
				return err
			}
			if s.Peek() == 'n' {
				return s.Null()
			}
			return malformed("outputs", array(s, "an array of outputs", func() error { return r.jsonOutput(s) }))
		}
		return s.Skip()
	})
	if err != nil {
		return err
	}
	if err := s.End(); err != nil {
		return err
	}
	if len(r.inputs) == 0 {
		return invalid("inputs is missing or empty; expected one tensor %q, or one a feature", InputName)
	}
	return nil
}

// once refuses a second member of one name: which of the two is meant, nobody knows.
func once(seen *bool, name string) error {
	if *seen {
		return invalid("%s appears twice", name)
	}
	*seen = true
	return nil
}

func (r *Request) requestParameters(s *jsonscan.Scanner) error {
	seen := false
	return parameters(s, func(key []byte) (err error) {
		if string(key) == "binary_data_output" {
			if err := once(&seen, "parameter binary_data_output"); err != nil {
				return err
			}
			r.binaryOutput, err = s.Bool()
			return malformed("parameter binary_data_output", err)
		}
		return otherParameter(s, key)
	})
}

// parameters reads an object of them, or null, which some clients send for none.
func parameters(s *jsonscan.Scanner, parameter func(name []byte) error) error {
	if s.Peek() == 'n' {
		return s.Null()
	}
	return object(s, "an object of parameters", parameter)
}

func otherParameter(s *jsonscan.Scanner, key []byte) error {
	if err := refuseParameter(key); err != nil {
		return err
	}
	return s.Skip()
}

func (r *Request) jsonOutput(s *jsonscan.Scanner) error {
	var hasName, hasParameters bool
	err := object(s, "an object", func(key []byte) error {
		switch string(key) {
		case "name":
			if err := once(&hasName, "name of an output"); err != nil {
				return err
			}
			name, err := s.String()
			if err != nil {
				return err
			}
			return r.selectOutput(name)
		case "parameters":
			if err := once(&hasParameters, "parameters of an output"); err != nil {
				return err
			}
			return r.outputParameters(s)
		}
		return s.Skip()
	})
	if err == nil && !hasName {
		return invalid("an output has no name; expected the model's, or no outputs for all")
	}
	return err
}

func (r *Request) outputParameters(s *jsonscan.Scanner) error {
	seen := false
	return parameters(s, func(key []byte) error {
		if string(key) != "binary_data" {
			return otherParameter(s, key)
		}
		if err := once(&seen, "parameter binary_data"); err != nil {
			return err
		}
		binary, err := s.Bool()
		r.outputBinary = no
		if binary {
			r.outputBinary = yes
		}
		return malformed("parameter binary_data", err)
	})
}

func (r *Request) jsonInput(s *jsonscan.Scanner) error {
	in, err := r.addInput()
	if err != nil {
		return err
	}
	in.finite = true
	err = object(s, "an object", func(key []byte) error { return r.inputMember(s, in, key) })
	if err != nil {
		return malformed(in.label(), err)
	}
	switch {
	case in.has&hasName == 0:
		return in.fault("name is missing")
	case in.has&hasShape == 0:
		return in.fault("shape is missing")
	case in.has&hasDatatype == 0:
		return in.fault("datatype is missing")
	case in.has&(hasData|hasBinary) == 0:
		return in.fault("data is missing")
	case in.has&(hasData|hasBinary) == hasData|hasBinary:
		return in.fault("both data and binary_data_size; expected one of them")
	}
	if err := in.checkForm(); err != nil {
		return err
	}
	if in.has&hasData != 0 {
		return r.checkData(in)
	}
	return nil
}

func (r *Request) inputMember(s *jsonscan.Scanner, in *input, key []byte) error {
	take := func(m member) error {
		if in.has&m != 0 {
			return in.fault("%s appears twice", key)
		}
		in.has |= m
		return nil
	}
	switch string(key) {
	case "name":
		name, err := s.String()
		if err != nil {
			return err
		}
		if in.has&hasName != 0 {
			return in.fault("name appears twice")
		}
		return in.setName(name)
	case "datatype":
		if err := take(hasDatatype); err != nil {
			return err
		}
		name, err := s.String()
		if err != nil {
			return err
		}
		return in.setDatatype(name)
	case "shape":
		if err := take(hasShape); err != nil {
			return err
		}
		return array(s, "an array of dimensions", func() error {
			n, err := s.Number()
			if err != nil {
				return err
			}
			if n != math.Trunc(n) || math.Abs(n) > 1<<53 {
				return in.fault("a dimension of shape is %v; expected an integer of at most 2⁵³", n)
			}
			in.addDimension(int64(n))
			return nil
		})
	case "parameters":
		if err := take(hasParameters); err != nil {
			return err
		}
		return inputParameters(s, in)
	case "data":
		if s.Peek() == 'n' {
			return s.Null()
		}
		if err := take(hasData); err != nil {
			return err
		}
		return r.data(s, in)
	}
	return s.Skip()
}

func inputParameters(s *jsonscan.Scanner, in *input) error {
	return parameters(s, func(key []byte) error {
		if string(key) != "binary_data_size" {
			return otherParameter(s, key)
		}
		if in.has&hasBinary != 0 {
			return in.fault("%s appears twice", key)
		}
		in.has |= hasBinary
		n, err := s.Number()
		if err != nil {
			return err
		}
		if n != math.Trunc(n) || n < 0 || n > math.MaxInt32 {
			return in.fault("binary_data_size is %v; expected a number of bytes", n)
		}
		in.binary = int(n)
		return nil
	})
}

// data reads an array of elements, flat or as an array of rows. It does not need to know shape and datatype, which may
// follow.
func (r *Request) data(s *jsonscan.Scanner, in *input) error {
	in.start = len(r.numbers)
	inside := *s
	if err := inside.Expect('[', "an array"); err != nil {
		return err
	}
	if inside.Peek() != '[' {
		err := r.elements(s, in)
		in.count = len(r.numbers) - in.start
		return err
	}
	in.nested = true
	return array(s, "an array", func() error {
		before := len(r.numbers)
		if err := r.elements(s, in); err != nil {
			return err
		}
		width := len(r.numbers) - before
		if in.outer == 0 {
			in.width = width
		} else if width != in.width {
			return in.fault("data[%d] has %d values, data[0] has %d; expected as many in each", in.outer, width, in.width)
		}
		if in.outer++; in.outer > r.limits.MaxRows {
			return tooManyRows(r.limits.MaxRows)
		}
		in.count += width
		return nil
	})
}

// elements appends one flat array to the numbers: of numbers, or of true and false, which become 1 and 0.
func (r *Request) elements(s *jsonscan.Scanner, in *input) (err error) {
	inside := *s
	if err := inside.Expect('[', "an array"); err != nil {
		return err
	}
	if c := inside.Peek(); c == 't' || c == 'f' {
		in.bools = true
		err = array(s, "an array", func() error {
			value, err := s.Bool()
			n := 0.0
			if value {
				n = 1
			}
			r.numbers = append(r.numbers, n)
			return err
		})
	} else {
		in.plain = in.plain || c != ']'
		r.numbers, err = s.Numbers(r.numbers)
	}
	if err == nil && in.bools && in.plain {
		return in.fault("data has numbers as well as true and false; expected one or the other")
	}
	return err
}

// checkData holds the data against shape and datatype.
func (r *Request) checkData(in *input) error {
	if in.bools && in.datatype != BOOL {
		return in.fault("data is of true and false; its datatype is %s", in.datatype)
	}
	if err := r.checkCount(in, in.count, "data"); err != nil {
		return err
	}
	if in.nested && (in.rank != 2 || in.shape[0] != int64(in.outer) || in.shape[1] != int64(in.width)) {
		return in.fault("data is nested as [%d, %d], shape is %s", in.outer, in.width, in.shapeText())
	}
	values := r.numbers[in.start : in.start+in.count]
	if bad := settle(values, in.datatype); bad >= 0 {
		return in.fault("element %d of data %s", bad, unsettled(values[bad], in.datatype))
	}
	return nil
}

// binaryTensors gives each input that said so its bytes behind the JSON.
func (r *Request) binaryTensors(body []byte, header int) error {
	rest := []byte(nil)
	if header != -1 {
		rest = body[header:]
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		if in.has&hasBinary == 0 {
			continue
		}
		if header == -1 {
			return in.fault("it has binary_data_size, but the request has no Inference-Header-Content-Length")
		}
		if in.binary > len(rest) {
			return in.fault("binary_data_size is %d; %d bytes are left of the %d behind the JSON", in.binary, len(rest), len(body)-header)
		}
		in.raw, rest, in.inRaw, in.finite = rest[:in.binary], rest[in.binary:], true, false
		if err := r.checkRaw(in); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return invalid("%d bytes are left behind the binary data of the inputs; expected binary_data_size of the inputs to add up to %d", len(rest), len(body)-header)
	}
	return nil
}
