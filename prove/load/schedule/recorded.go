package schedule

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func readRecorded(file string, speed float64) ([]time.Duration, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("recorded times: %w", err)
	}
	defer f.Close()
	times, err := parseRecorded(f, speed)
	if err != nil {
		return nil, fmt.Errorf("recorded times in %s: %w", file, err)
	}
	return times, nil
}

// parseRecorded reads a time a line: seconds, or RFC 3339; only the first column counts when there are commas. Empty
// lines, lines that begin with # and a header are skipped. The earliest time becomes 0; the order does not matter,
// as logs are written when requests end.
func parseRecorded(r io.Reader, speed float64) ([]time.Duration, error) {
	var times []float64
	var base time.Time
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), ",")
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		at, err := strconv.ParseFloat(text, 64)
		if err != nil {
			stamp, stampErr := time.Parse(time.RFC3339Nano, text)
			if stampErr != nil {
				if n == 1 {
					continue // a header
				}
				return nil, fmt.Errorf("line %d: %.60q is neither seconds nor an RFC 3339 time", n, text)
			}
			if base.IsZero() {
				base = stamp
			}
			at = stamp.Sub(base).Seconds()
		}
		if math.IsNaN(at) || math.IsInf(at, 0) {
			return nil, fmt.Errorf("line %d: %.60q is no time", n, text)
		}
		if len(times) == maxRecorded {
			return nil, fmt.Errorf("more than %d times", maxRecorded)
		}
		times = append(times, at)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("there is none")
	}
	slices.Sort(times)
	first, last := times[0], times[len(times)-1]
	if length := (last - first) / speed; !(length <= MaxLength.Seconds()) {
		return nil, fmt.Errorf("they span %.0f s at this speed; at most %s", length, MaxLength)
	}
	due := make([]time.Duration, len(times))
	for i, at := range times {
		due[i] = time.Duration((at - first) / speed * 1e9)
	}
	return due, nil
}
