package script

import "bytes"

// decimal is a JSON number taken apart: ± 0.DIGITS × 10^exp, where DIGITS, whole followed by fraction, begin with a
// digit that is not 0, or are empty for zero.
type decimal struct {
	negative        bool
	whole, fraction []byte
	exp             int64
}

// hugeExp is where exponents end; two numbers beyond it on the same side may count as equal.
const hugeExp = 1 << 60

func parseDecimal(b []byte) decimal {
	var d decimal
	if b[0] == '-' {
		d.negative = true
		b = b[1:]
	}
	if i := bytes.IndexByte(b, 'e'); i >= 0 {
		b, d.exp = b[:i], parseExp(b[i+1:])
	} else if i := bytes.IndexByte(b, 'E'); i >= 0 {
		b, d.exp = b[:i], parseExp(b[i+1:])
	}
	d.whole = b
	if i := bytes.IndexByte(b, '.'); i >= 0 {
		d.whole, d.fraction = b[:i], bytes.TrimRight(b[i+1:], "0")
	}
	d.whole = bytes.TrimLeft(d.whole, "0")
	d.exp += int64(len(d.whole))
	if len(d.whole) == 0 {
		n := len(d.fraction)
		d.fraction = bytes.TrimLeft(d.fraction, "0")
		d.exp -= int64(n - len(d.fraction))
	}
	if len(d.whole)+len(d.fraction) == 0 {
		return decimal{} // -0 is 0
	}
	return d
}

func parseExp(b []byte) int64 {
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	var n int64
	for _, c := range b {
		if n = n*10 + int64(c-'0'); n > hugeExp {
			n = hugeExp
			break
		}
	}
	if negative {
		return -n
	}
	return n
}

func (d *decimal) isZero() bool { return len(d.whole)+len(d.fraction) == 0 }

// digit returns the i-th digit, 0 beyond the last.
func (d *decimal) digit(i int) byte {
	if i < len(d.whole) {
		return d.whole[i]
	}
	if i -= len(d.whole); i < len(d.fraction) {
		return d.fraction[i]
	}
	return '0'
}

// compareNumbers compares two JSON numbers by their exact value: a float64 could not tell 2^53 from 2^53+1, which
// keys of a database reach.
func compareNumbers(a, b []byte) int {
	x, y := parseDecimal(a), parseDecimal(b)
	if x.negative != y.negative {
		if x.negative {
			return -1
		}
		return 1
	}
	magnitude := compareMagnitudes(&x, &y)
	if x.negative {
		return -magnitude
	}
	return magnitude
}

func compareMagnitudes(x, y *decimal) int {
	switch {
	case x.isZero() && y.isZero():
		return 0
	case x.isZero():
		return -1
	case y.isZero():
		return 1
	case x.exp != y.exp:
		if x.exp < y.exp {
			return -1
		}
		return 1
	}
	for i := range max(len(x.whole)+len(x.fraction), len(y.whole)+len(y.fraction)) {
		if a, b := x.digit(i), y.digit(i); a != b {
			if a < b {
				return -1
			}
			return 1
		}
	}
	return 0
}
