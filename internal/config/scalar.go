package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const quotedStyle = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// have describes what stands where something else was wanted.
func have(n *yaml.Node, tr traits) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	case tr.secret:
		return "a single value"
	}
	return quote(n.Value)
}

// setScalar decodes a single value and returns what is wrong with it, or "". It reads the
// text itself and not YAML's reading of it, which takes 0777 for 511 and 1:30 for 90.
func setScalar(n *yaml.Node, v reflect.Value, k kind, tr traits) string {
	if isNull(n) {
		if k == float && tr.nullNaN {
			v.SetFloat(math.NaN())
			return ""
		}
		return `has no value; write one, or "" for empty text, or remove the line`
	}
	want := "want a " + typeName(v.Type(), tr)
	switch k {
	case textual, str:
		want = "want text"
	case boolean:
		want = "want true or false"
	}
	if n.Kind != yaml.ScalarNode {
		return want + ", have " + have(n, tr)
	}
	quoted := n.Style&quotedStyle != 0
	fault := ""
	switch k {
	case textual:
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			if tr.secret {
				return "is not accepted (the reason is not shown, it may hold the secret)"
			}
			return fmt.Sprintf("%s is not accepted: %v", quote(n.Value), err)
		}
		return ""
	case str:
		switch n.Tag {
		case "!!int", "!!float", "!!bool":
			if tr.secret {
				return "want text; put quotes around it"
			}
			return fmt.Sprintf("want text, have %s; write it with quotes", shorten(n.Value))
		}
		v.SetString(n.Value)
		return ""
	case duration:
		fault = setDuration(v, n.Value)
	case byteSize:
		fault = setSize(v, n.Value)
	default:
		if quoted {
			return want + ", have text; remove the quotes"
		}
		switch k {
		case boolean:
			fault = setBool(v, n.Value)
		case integer:
			fault = setInt(v, n.Value)
		case unsigned:
			fault = setUint(v, n.Value)
		case float:
			fault = setFloat(v, n.Value, tr)
		}
	}
	switch {
	case fault == "":
		return ""
	case fault == wrongType:
		return want + ", have " + have(n, tr)
	case tr.secret:
		return want + "; " + fault
	}
	return have(n, tr) + " " + fault
}

// wrongType is the fault of a text that is nothing of the sort wanted.
const wrongType = "\x00"

func setBool(v reflect.Value, s string) string {
	switch s {
	case "true", "True", "TRUE":
		v.SetBool(true)
	case "false", "False", "FALSE":
		v.SetBool(false)
	default:
		return wrongType
	}
	return ""
}

func setInt(v reflect.Value, s string) string {
	if leadingZero(s) {
		return leadingZeroFault
	}
	i, err := strconv.ParseInt(s, 0, v.Type().Bits())
	if errors.Is(err, strconv.ErrRange) {
		bits := v.Type().Bits()
		return fmt.Sprintf("is out of range; want %d to %d", int64(-1)<<(bits-1), int64(1)<<(bits-1)-1)
	}
	if err != nil {
		return wrongType
	}
	v.SetInt(i)
	return ""
}

func setUint(v reflect.Value, s string) string {
	if leadingZero(s) {
		return leadingZeroFault
	}
	u, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 0, v.Type().Bits())
	if err == nil {
		v.SetUint(u)
		return ""
	}
	_, signed := strconv.ParseInt(s, 0, 64)
	if errors.Is(err, strconv.ErrRange) || signed == nil {
		return fmt.Sprintf("is out of range; want 0 to %d", uint64(math.MaxUint64)>>(64-v.Type().Bits()))
	}
	return wrongType
}

const leadingZeroFault = "begins with a zero, which some read as octal; remove it, or write 0o for octal"

func leadingZero(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9'
}

// decimal leaves out what strconv reads besides: hexadecimal floats, inf, infinity, nan.
var decimal = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

func setFloat(v reflect.Value, s string, tr traits) string {
	switch strings.ToLower(s) {
	case ".inf", "+.inf":
		v.SetFloat(math.Inf(1))
		return ""
	case "-.inf":
		v.SetFloat(math.Inf(-1))
		return ""
	case ".nan":
		if !tr.nullNaN {
			return "(not a number) has no meaning here; write a number"
		}
		v.SetFloat(math.NaN())
		return ""
	}
	if leadingZero(s) {
		return leadingZeroFault
	}
	if !decimal.MatchString(s) {
		i, err := strconv.ParseInt(s, 0, 64) // 1_000_000
		if err != nil {
			return wrongType
		}
		v.SetFloat(float64(i))
		return ""
	}
	f, err := strconv.ParseFloat(s, v.Type().Bits())
	if err != nil {
		return "is out of range"
	}
	v.SetFloat(f)
	return ""
}

func setDuration(v reflect.Value, s string) string {
	d, err := time.ParseDuration(s)
	if err == nil {
		v.SetInt(int64(d))
		return ""
	}
	if decimal.MatchString(s) {
		return "needs a unit: ms, s, m or h, such as 30s"
	}
	if rest, ok := strings.CutSuffix(s, "d"); ok && decimal.MatchString(rest) {
		return "is in days; write hours, such as 24h"
	}
	return "is not a duration such as 250ms, 30s or 1h30m"
}

// formatDuration drops the zeros that time.Duration prints: 1h, not 1h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
