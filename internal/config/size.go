package config

import (
	"fmt"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
)

var sizeUnits = []struct {
	name  string
	bytes uint64
}{
	{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"kB", 1e3}, {"B", 1}, {"", 1},
}

// setSize reads 8MiB, 512KiB, 1GB or a count of bytes.
func setSize(v reflect.Value, s string) string {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := s[len(number):]
	number = strings.TrimRight(number, " ")
	if leadingZero(number) {
		return leadingZeroFault
	}
	digits, negative := strings.CutPrefix(number, "-")
	n, err := strconv.ParseUint(digits, 0, 64)
	if err != nil {
		if decimal.MatchString(number) && unit != "" && !strings.HasPrefix(number, "-") {
			return "is not whole; write it in a smaller unit, such as 1536MiB"
		}
		return "is not a size such as 8MiB, 512KiB or 1GB"
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		high, low := bits.Mul64(n, u.bytes)
		if high != 0 || !storeSize(v, low, negative) {
			return fmt.Sprintf("is out of range for %d bits", v.Type().Bits())
		}
		return ""
	}
	return `has an unknown unit; use B, KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000)`
}

func storeSize(v reflect.Value, n uint64, negative bool) bool {
	if v.CanUint() {
		if negative && n != 0 || v.OverflowUint(n) {
			return false
		}
		v.SetUint(n)
		return true
	}
	i := int64(n)
	if negative {
		i = -i
	}
	if (i < 0) != (negative && n != 0) || v.OverflowInt(i) {
		return false
	}
	v.SetInt(i)
	return true
}

// formatSize prints in the largest unit that divides, binary before decimal; below 1000
// bytes it prints a plain number.
func formatSize(n uint64, negative bool) string {
	sign := ""
	if negative {
		sign = "-"
	}
	for _, u := range sizeUnits {
		if n >= u.bytes && n%u.bytes == 0 && u.bytes > 1 {
			return sign + strconv.FormatUint(n/u.bytes, 10) + u.name
		}
	}
	return sign + strconv.FormatUint(n, 10)
}
