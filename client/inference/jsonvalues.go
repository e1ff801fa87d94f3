package inferenceclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// appendJSON appends the values as a flat array. It fails for what JSON cannot say.
func (t *Tensor) appendJSON(b []byte) ([]byte, error) {
	begin := len(b)
	b = append(b, '[')
	switch v := t.values.(type) {
	case []bool:
		for _, x := range v {
			b = append(strconv.AppendBool(b, x), ',')
		}
	case []int8:
		b = appendInts(b, v)
	case []int16:
		b = appendInts(b, v)
	case []int32:
		b = appendInts(b, v)
	case []int64:
		b = appendInts(b, v)
	case []uint8:
		b = appendUints(b, v)
	case []uint16:
		b = appendUints(b, v)
	case []uint32:
		b = appendUints(b, v)
	case []uint64:
		b = appendUints(b, v)
	case []Float16:
		for _, x := range v {
			b = appendFloat(b, float64(x.Float32()), 32)
		}
	case []BFloat16:
		for _, x := range v {
			b = appendFloat(b, float64(x.Float32()), 32)
		}
	case []float32:
		for _, x := range v {
			b = appendFloat(b, float64(x), 32)
		}
	case []float64:
		for _, x := range v {
			b = appendFloat(b, x, 64)
		}
	case []string:
		for _, x := range v {
			b = append(appendString(b, x), ',')
		}
	}
	if bytes.Contains(b[begin:], []byte("Inf")) && sizeOf(t.datatype) > 0 {
		return nil, fmt.Errorf("input %q: JSON has no infinity", t.name)
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, ']'), nil
}

func appendInts[T int8 | int16 | int32 | int64](b []byte, values []T) []byte {
	for _, x := range values {
		b = append(strconv.AppendInt(b, int64(x), 10), ',')
	}
	return b
}

func appendUints[T uint8 | uint16 | uint32 | uint64](b []byte, values []T) []byte {
	for _, x := range values {
		b = append(strconv.AppendUint(b, uint64(x), 10), ',')
	}
	return b
}

func appendFloat(b []byte, x float64, precision int) []byte {
	if math.IsNaN(x) {
		return append(b, "null,"...)
	}
	return append(strconv.AppendFloat(b, x, 'g', -1, precision), ',')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// parseJSON reads count elements of an array, flat or nested. data is known to be JSON.
func parseJSON(datatype string, data []byte, count int) (any, error) {
	switch datatype {
	case "BOOL":
		return parseArray(data, count, func(token []byte) (bool, error) {
			switch string(token) {
			case "true", "1":
				return true, nil
			case "false", "0":
				return false, nil
			}
			return false, errNoValue
		})
	case "INT8":
		return parseArray(data, count, signed[int8](8))
	case "INT16":
		return parseArray(data, count, signed[int16](16))
	case "INT32":
		return parseArray(data, count, signed[int32](32))
	case "INT64":
		return parseArray(data, count, signed[int64](64))
	case "UINT8":
		return parseArray(data, count, unsigned[uint8](8))
	case "UINT16":
		return parseArray(data, count, unsigned[uint16](16))
	case "UINT32":
		return parseArray(data, count, unsigned[uint32](32))
	case "UINT64":
		return parseArray(data, count, unsigned[uint64](64))
	case "FP32":
		return parseArray(data, count, floating[float32](32))
	case "FP64":
		return parseArray(data, count, floating[float64](64))
	case "BYTES":
		return parseArray(data, count, func(token []byte) (s string, err error) {
			if token[0] != '"' {
				return "", errNoValue
			}
			err = json.Unmarshal(token, &s)
			return s, err
		})
	case "FP16", "BF16":
		return nil, fmt.Errorf("%s in JSON", datatype)
	}
	return nil, fmt.Errorf("unknown datatype %.32q", datatype)
}

var errNoValue = errors.New("is no value of the datatype")

func signed[T int8 | int16 | int32 | int64](size int) func([]byte) (T, error) {
	return func(token []byte) (T, error) {
		x, err := strconv.ParseInt(string(token), 10, size)
		return T(x), err
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](size int) func([]byte) (T, error) {
	return func(token []byte) (T, error) {
		x, err := strconv.ParseUint(string(token), 10, size)
		return T(x), err
	}
}

func floating[T float32 | float64](size int) func([]byte) (T, error) {
	return func(token []byte) (T, error) {
		if string(token) == "null" {
			return T(math.NaN()), nil
		}
		x, err := strconv.ParseFloat(string(token), size)
		return T(x), err
	}
}

// parseArray gives parse each scalar of an array.
func parseArray[T any](data []byte, count int, parse func(token []byte) (T, error)) ([]T, error) {
	if len(data) == 0 || data[0] != '[' {
		return nil, errors.New("data is no array")
	}
	values := make([]T, 0, min(count, len(data)/2)) // a value and what parts it from the next
	for i := 0; i < len(data); {
		end := endOfToken(data, i)
		if end == i { // structure, or space
			if data[i] == '{' {
				return nil, errors.New("data has an object in it")
			}
			i++
			continue
		}
		if len(values) == count {
			return nil, fmt.Errorf("data has more than the %d values of the shape", count)
		}
		x, err := parse(data[i:end])
		if err != nil {
			return nil, fmt.Errorf("value %d, %.32s: %w", len(values), data[i:end], err)
		}
		values, i = append(values, x), end
	}
	if len(values) != count {
		return nil, fmt.Errorf("data has %d values, and the shape %d", len(values), count)
	}
	return values, nil
}

// endOfToken is where the scalar ends that begins at i; i if none does.
func endOfToken(data []byte, i int) int {
	if data[i] == '"' {
		for i++; i < len(data) && data[i] != '"'; i++ {
			if data[i] == '\\' {
				i++
			}
		}
		return min(i+1, len(data))
	}
	for ; i < len(data); i++ {
		switch data[i] {
		case '[', ']', ',', '"', ' ', '\t', '\r', '\n', '{', '}', ':':
			return i
		}
	}
	return i
}
