package jsonscan

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func skipAll(data []byte) error {
	s := New(data)
	if err := s.Skip(); err != nil {
		return err
	}
	return s.End()
}

func TestSkipAcceptsJSON(t *testing.T) {
	for _, doc := range []string{
		`null`, ` true `, `false`, `0`, `-0`, `1.5e-7`, `""`, `"é\u00e9\ud83d\ude00\n"`, `[]`, `{}`, `[[],{}]`,
		`{"a":[1,2,{"b":null}],"c":"d"}`, "[1 , 2\t,\r\n3 ]",
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
	} {
		if err := skipAll([]byte(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestSkipSaysWhatIsWrongAndWhere(t *testing.T) {
	for doc, want := range map[string]string{
		``:                            "at byte 0: a value expected, the document ends here",
		`{`:                           "at byte 1: a string expected, the document ends here",
		`{"a"}`:                       "at byte 4: ':' after the key expected, not '}'",
		`{"a":1,}`:                    "at byte 7: a string expected, not '}'",
		`[1,]`:                        "at byte 3: a value expected, not ']'",
		`[1 2]`:                       "at byte 3: ',' or ']' expected, not '2'",
		`[01]`:                        "at byte 1: a number may not begin with 0",
		`[1.]`:                        "at byte 3: a digit after the decimal point expected, not ']'",
		`[1e+]`:                       "at byte 4: a digit in the exponent expected, not ']'",
		`[-]`:                         "at byte 1: a number expected, not '-'",
		`[NaN]`:                       "at byte 1: a value expected; JSON has no NaN, a missing value is null",
		`[1e999]`:                     "at byte 1: number out of float64 range",
		`[tru]`:                       "at byte 1: a value expected, not 't'",
		`1 1`:                         "at byte 2: the end of the document expected, not '1'",
		`"\x"`:                        "at byte 2: an unknown escape in a string",
		`"\ud800"`:                    "at byte 7: half a surrogate pair in a string",
		"\"\xff\"":                    "at byte 1: the string is not valid UTF-8",
		"\"\\n\xff\"":                 "at byte 1: the string is not valid UTF-8",
		"\"a\nb\"":                    "at byte 2: a control character in a string must be escaped",
		"\xff":                        "at byte 0: a value expected, not byte 0xff",
		strings.Repeat("[", 100_000):  "at byte 64: nested deeper than 64",
		strings.Repeat(`{"a":`, 1000): "at byte 320: nested deeper than 64",
	} {
		err := skipAll([]byte(doc))
		if err == nil || err.Error() != want {
			t.Errorf("%.40q:\n got %v\nwant %s", doc, err, want)
		}
	}
}

func TestNumberEqualsStrconv(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "0.1", "7.889999866485596", "9007199254740993", "123456789012345678901234567890", "1e22", "1e23", "1e-22", "1e-23",
		"0.000000000000000000000000000001", "2.2250738585072011e-308", "5e-324", "1e-400", "1.7976931348623157e308", "-12.5E+3",
		"18446744073709551616.5", "0.18446744073709551615", "0.18446744073709551616", "1.8446744073709551616", "1.8446744073709551616e19",
		"0.92233720368547758080", "3.6893488147419103232", "18446744073709551616", "0.0036893488147419103232", "0.00018446744073709551616", "1e000000000000000000001", "0e999999999999",
	} {
		s := New([]byte(text))
		got, err := s.Number()
		want, _ := strconv.ParseFloat(text, 64)
		if err != nil || math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	s := New([]byte("-1e999"))
	if _, err := s.Number(); !errors.Is(err, ErrRange) {
		t.Errorf("-1e999: %v is no ErrRange", err)
	}
}

func TestBool(t *testing.T) {
	for doc, want := range map[string]bool{`true`: true, ` false`: false, "\n\ttrue": true} {
		s := New([]byte(doc))
		got, err := s.Bool()
		if err == nil {
			err = s.End()
		}
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", doc, got, err)
		}
	}
	for doc, want := range map[string]string{
		``:      "at byte 0: true or false expected, the document ends here",
		`1`:     "at byte 0: true or false expected, not '1'",
		`null`:  "at byte 0: true or false expected, not 'n'",
		`tru`:   "at byte 0: a value expected, not 't'",
		`falsy`: "at byte 0: a value expected, not 'f'",
	} {
		s := New([]byte(doc))
		if _, err := s.Bool(); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", doc, err, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for doc, want := range map[string]string{
		`[]`: "[]", ` [ ] `: "[]", `[0]`: "[0]", `[1,2]`: "[1 2]", `[1,2,-3.5e1]`: "[1 2 -35]", `[null,0,null]`: "[NaN 0 NaN]",
		"[1 ,\n2,3 , 4,5,6]": "[1 2 3 4 5 6]", `[0,0,0,12,0]`: "[0 0 0 12 0]",
	} {
		s := New([]byte(doc))
		got, err := s.Numbers(nil)
		if err == nil {
			err = s.End()
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", doc, got, err)
		}
	}
	for doc, want := range map[string]string{
		`1`:      "at byte 0: an array of numbers expected, not '1'",
		`[1,]`:   "at byte 3: a number expected, not ']'",
		`[1,,2]`: "at byte 3: a number expected, not ','",
		`[,1]`:   "at byte 1: a number expected, not ','",
		`[01]`:   "at byte 1: a number may not begin with 0",
		`[0,1`:   "at byte 4: ',' or ']' expected, the document ends here",
		`[0,`:    "at byte 3: a number expected, the document ends here",
		`[nul]`:  "at byte 1: a value expected, not 'n'",
	} {
		s := New([]byte(doc))
		if _, err := s.Numbers(nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}

// FuzzNumbers: the quick way through an array finds what the slow one does.
func FuzzNumbers(f *testing.F) {
	for _, doc := range []string{`[0,1,2.5,null]`, `[]`, `[0,,1]`, `[1,2`, `[ 1 , 2 ]`, `[0,-1,1e5,9,9]`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		quick, slow := New(data), New(data)
		got, err := quick.Numbers(nil)
		want, wantErr := slowNumbers(&slow)
		if (err == nil) != (wantErr == nil) || err == nil && (fmt.Sprint(got) != fmt.Sprint(want) || quick.Offset() != slow.Offset()) {
			t.Fatalf("%q: %v %v, want %v %v", data, got, err, want, wantErr)
		}
	})
}

func slowNumbers(s *Scanner) (values []float64, err error) {
	if err = s.Expect('[', "an array"); err != nil {
		return nil, err
	}
	if s.Peek() == ']' {
		return nil, s.Expect(']', "]")
	}
	for more := true; more && err == nil; {
		v := math.NaN()
		if s.Peek() == 'n' {
			err = s.Null()
		} else {
			v, err = s.Number()
		}
		values = append(values, v)
		if err == nil {
			more, err = s.Next(']')
		}
	}
	return values, err
}

func TestStringOfPlainTextIsASliceOfTheDocument(t *testing.T) {
	doc := []byte(`"loan-default"`)
	if n := testing.AllocsPerRun(100, func() {
		s := New(doc)
		if v, err := s.String(); err != nil || len(v) != 12 {
			t.Fatal(v, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSkip holds the scanner against encoding/json: what it accepts is JSON, and what it refuses of
// valid JSON it refuses for one of its own, stricter rules.
func FuzzSkip(f *testing.F) {
	for _, doc := range []string{`{"a":[1,2.5e3,null,true,"x\u00e9"]}`, `[[[]]]`, `"\ud83d\ude00"`, `-0.0e-0`, `[1,`, "\xff", `{"a":1,"a":2}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := skipAll(data)
		if err == nil {
			if !json.Valid(data) {
				t.Fatalf("accepted what is no JSON: %q", data)
			}
			return
		}
		if !json.Valid(data) {
			return
		}
		stricter := !utf8.Valid(data) || errors.Is(err, ErrRange) ||
			strings.Contains(err.Error(), "surrogate") || strings.Contains(err.Error(), "nested deeper")
		if !stricter {
			t.Fatalf("refused %q: %v", data, err)
		}
	})
}

// FuzzNumber: a number that the scanner reads is the one that strconv reads, to the bit.
func FuzzNumber(f *testing.F) {
	for _, text := range []string{"0", "-1.5e-3", "123456789.123456789", "1e22", "4503599627370497.5", "0.3e-5", "0.18446744073709551616", "1.8446744073709551616e19"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := New([]byte(text))
		got, err := s.Number()
		if err != nil || s.Offset() != len(text) || strings.TrimLeft(text, " \t\r\n") != text {
			return
		}
		want, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%q: got %v, strconv %v, %v", text, got, want, err)
		}
	})
}

func BenchmarkNumber(b *testing.B) {
	doc := []byte(`7.889999866485596,`)
	b.ReportAllocs()
	for b.Loop() {
		s := New(doc)
		if _, err := s.Number(); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleScanner() {
	s := New([]byte(`[1, 2.5, null]`))
	err := s.Expect('[', "an array")
	missing, sum := 0, 0.0
	for more := true; more && err == nil; {
		if s.Peek() == 'n' {
			missing, err = missing+1, s.Null()
		} else {
			var v float64
			v, err = s.Number()
			sum += v
		}
		if err == nil {
			more, err = s.Next(']')
		}
	}
	fmt.Println(sum, missing, err)
	// Output: 3.5 1 <nil>
}

func TestNaNIsMissingOnlyWhereItIsAllowed(t *testing.T) {
	s := New([]byte(`[1,NaN,null]`))
	s.NaN = true
	values, err := s.Numbers(nil)
	if err != nil || len(values) != 3 || values[0] != 1 || !math.IsNaN(values[1]) || !math.IsNaN(values[2]) {
		t.Errorf("%v %v", values, err)
	}
	for _, text := range []string{`[NaN]`, `[nan]`, `[NAN]`, `[Infinity]`} {
		s := New([]byte(text))
		s.NaN = text != `[NaN]`
		if values, err := s.Numbers(nil); err == nil {
			t.Errorf("%s: %v", text, values)
		}
	}
}
