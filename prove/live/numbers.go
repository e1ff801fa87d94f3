package live

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// none stands for what was not measured.
const none = "–"

// three writes a number of 0 to 99,999 with three significant digits.
func three(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// brief is three without zeros at the end.
func brief(v float64) string {
	s := three(v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// inUnit scales a duration in nanoseconds to the unit in which it has one to three digits before the point.
func inUnit(ns float64) (v float64, unit string) {
	v = max(ns, 0) / 1e3
	if v < 999.5 {
		return v, "µs"
	}
	if v /= 1e3; v < 999.5 {
		return v, "ms"
	}
	return v / 1e3, "s"
}

// latency writes a duration in nanoseconds, such as "1.25 ms".
func latency(ns float64) string {
	if !finite(ns) {
		return none
	}
	v, unit := inUnit(ns)
	if v > 99_999 {
		return ">27 h"
	}
	return three(v) + " " + unit
}

// edge is latency for a round number, such as "2 ms".
func edge(ns float64) string {
	v, unit := inUnit(ns)
	return brief(v) + " " + unit
}

// latencyCell is latency in eight cells, the units below each other.
func latencyCell(ns float64) string {
	number, unit, _ := strings.Cut(latency(ns), " ")
	return right(number, 5) + " " + leftward(unit, 2)
}

// count writes 1234567 as "1,234,567", and from ten millions on "12.3 M".
func count(n uint64) string {
	if n >= 10_000_000 {
		v, unit := scaled(float64(n), 1000)
		return three(v) + " " + unit
	}
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// scaled divides v by step until it has one to three digits before the point, and returns the prefix of that.
func scaled(v, step float64) (float64, string) {
	prefix := ""
	for _, next := range []string{"k", "M", "G", "T", "P", "E"} {
		if v < 999.5 {
			break
		}
		v, prefix = v/step, next
	}
	return v, prefix
}

// perSecond writes a rate, such as "2,400/s".
func perSecond(v float64) string {
	switch {
	case !finite(v) || v < 0:
		return none
	case v > 1e18:
		return ">1 E/s"
	case v >= 9_999_999.5:
		v, unit := scaled(v, 1000)
		return three(v) + " " + unit + "/s"
	case v >= 99.95:
		return count(uint64(math.Round(v))) + "/s"
	}
	return brief(v) + "/s"
}

// byteCount writes an amount, such as "1.20 MB".
func byteCount(v float64) string {
	if !finite(v) || v < 0 {
		return none
	}
	if v > 1e20 {
		return ">100 EB"
	}
	if v < 999.5 {
		return strconv.FormatFloat(v, 'f', 0, 64) + " B"
	}
	v, unit := scaled(v, 1000)
	return three(v) + " " + unit + "B"
}

// share writes part of whole in percent. Only none of it is "0 %", and only all of it is "100 %".
func share(part, whole float64) string {
	if !finite(part) || !finite(whole) || whole <= 0 || part < 0 {
		return none
	}
	switch percent := 100 * part / whole; {
	case part == 0:
		return "0 %"
	case part >= whole:
		return "100 %"
	case percent < 0.01:
		return "<0.01 %"
	case percent > 99.99:
		return ">99.99 %"
	case percent < 10, percent > 99:
		return strconv.FormatFloat(percent, 'f', 2, 64) + " %"
	default:
		return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
	}
}

// clock writes a time as "1:02" or "1:02:03".
func clock(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// compact takes the spaces out, for key=value.
func compact(s string) string { return strings.ReplaceAll(s, " ", "") }
