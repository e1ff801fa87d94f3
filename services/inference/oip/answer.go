package oip

import (
	"encoding/binary"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of ModelInferResponse and InferOutputTensor.
const (
	responseModel   protowire.Number = 1
	responseVersion protowire.Number = 2
	responseID      protowire.Number = 3
	responseOutput  protowire.Number = 5
	responseRaw     protowire.Number = 6

	outputName     protowire.Number = 1
	outputDatatype protowire.Number = 2
	outputShape    protowire.Number = 3
	outputContents protowire.Number = 5
)

// AnswerBytes is more than the answer takes, for memory to be taken once. It is called after Bind.
func (r *Request) AnswerBytes(sig *Signature) int {
	const (
		around  = 256 // names, tags, braces and the shape
		escaped = len(`\u0000`)
	)
	value := len("-2.2250738585072014e-308,")
	switch {
	case r.wire || r.binary():
		value = sig.Datatype.Size()
	case sig.Datatype == FP32:
		value = len("-1.00000001e-38,")
	}
	return around + escaped*(len(r.id)+len(sig.Model)+len(sig.Version)+len(sig.Output)) + r.boundRows*sig.Outputs*value
}

// binary tells whether the answer to a request in JSON is to be binary.
func (r *Request) binary() bool {
	if r.outputBinary != unsaid {
		return r.outputBinary == yes
	}
	return r.binaryOutput
}

// AppendJSON appends the answer to a request in JSON: outputs has sig.Outputs values for each of the rows that Bind found.
// Where a binary answer was asked for, the JSON is the first header bytes of it, which goes into
// Inference-Header-Content-Length; else header is -1.
func (r *Request) AppendJSON(dst []byte, sig *Signature, outputs []float64) (answer []byte, header int) {
	start := len(dst)
	b := append(dst, `{"model_name":`...)
	b = appendString(b, sig.Model)
	b = append(b, `,"model_version":`...)
	b = appendString(b, sig.Version)
	if len(r.id) > 0 {
		b = append(b, `,"id":`...)
		b = appendString(b, r.id)
	}
	b = append(b, `,"outputs":[{"name":`...)
	b = appendString(b, sig.output())
	b = append(b, `,"datatype":"`...)
	b = append(b, sig.Datatype.String()...)
	b = append(b, `","shape":[`...)
	b = strconv.AppendInt(b, int64(r.boundRows), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(sig.Outputs), 10)
	b = append(b, ']')
	if r.binary() {
		b = append(b, `,"parameters":{"binary_data_size":`...)
		b = strconv.AppendInt(b, int64(len(outputs)*sig.Datatype.Size()), 10)
		b = append(b, `}}]}`...)
		header = len(b) - start
		return appendElements(b, sig.Datatype, outputs), header
	}
	b = append(b, `,"data":[`...)
	bits := 8 * sig.Datatype.Size()
	for i, x := range outputs {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			b = append(b, "null"...) // JSON has no number for it
			continue
		}
		b = strconv.AppendFloat(b, x, 'g', -1, bits)
	}
	return append(b, "]}]}\n"...), -1
}

// appendString appends a JSON string of what is valid UTF-8.
func appendString[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendElements appends values as a raw tensor, or as packed fields of protobuf, has them.
func appendElements(b []byte, d Datatype, values []float64) []byte {
	if d == FP32 {
		for _, x := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
		return b
	}
	for _, x := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

// AppendProto appends the ModelInferResponse to a request in protobuf: with raw contents if the request had them, else
// with typed ones.
func (r *Request) AppendProto(dst []byte, sig *Signature, outputs []float64) []byte {
	raw := len(r.raws) > 0
	elements := len(outputs) * sig.Datatype.Size()
	field := datatypes[sig.Datatype].field
	contentsSize := protowire.SizeTag(field) + protowire.SizeBytes(elements)
	shapeSize := protowire.SizeVarint(uint64(r.boundRows)) + protowire.SizeVarint(uint64(sig.Outputs))
	size := protowire.SizeTag(outputName) + protowire.SizeBytes(len(sig.output())) +
		protowire.SizeTag(outputDatatype) + protowire.SizeBytes(len(sig.Datatype.String())) +
		protowire.SizeTag(outputShape) + protowire.SizeBytes(shapeSize)
	if !raw {
		size += protowire.SizeTag(outputContents) + protowire.SizeBytes(contentsSize)
	}

	b := appendText(dst, responseModel, sig.Model)
	b = appendText(b, responseVersion, sig.Version)
	b = appendText(b, responseID, r.id)
	b = appendLength(b, responseOutput, size)
	b = appendText(b, outputName, sig.output())
	b = appendText(b, outputDatatype, sig.Datatype.String())
	b = appendLength(b, outputShape, shapeSize)
	b = protowire.AppendVarint(b, uint64(r.boundRows))
	b = protowire.AppendVarint(b, uint64(sig.Outputs))
	if raw {
		b = appendLength(b, responseRaw, elements)
	} else {
		b = appendLength(b, outputContents, contentsSize)
		b = appendLength(b, field, elements)
	}
	return appendElements(b, sig.Datatype, outputs)
}

// appendLength begins a field of so many bytes.
func appendLength(b []byte, num protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(size))
}

// appendText appends a string, which is left out if it is empty.
func appendText[T string | []byte](b []byte, num protowire.Number, s T) []byte {
	if len(s) == 0 {
		return b
	}
	return append(appendLength(b, num, len(s)), s...)
}
