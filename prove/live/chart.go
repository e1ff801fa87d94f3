package live

import (
	"math"
	"strings"
)

var (
	uprights   = []rune(" ▁▂▃▄▅▆▇█")
	horizontal = []rune(" ▏▎▍▌▋▊▉█")
)

// chart draws values as columns, one a cell, the last width of them, in rows rows from the top down. Each value is a
// height from 0 to 1; one that is not finite leaves a gap. What is above 0 shows.
func chart(values []float64, width, rows int) []string {
	values = values[max(len(values)-max(width, 0), 0):]
	drawn := make([]string, rows)
	for row := range drawn {
		var b strings.Builder
		below := (rows - 1 - row) * 8 // eighths that the rows below hold
		for _, v := range values {
			eighths := 0
			if finite(v) && v > 0 {
				eighths = max(int(math.Round(min(v, 1)*float64(8*rows))), 1)
			}
			b.WriteRune(uprights[min(max(eighths-below, 0), 8)])
		}
		drawn[row] = b.String()
	}
	return drawn
}

// linear scales values to heights, 1 being top.
func linear(values []float64, top float64) []float64 {
	heights := make([]float64, len(values))
	for i, v := range values {
		heights[i] = math.NaN()
		if finite(v) && top > 0 {
			heights[i] = v / top
		}
	}
	return heights
}

// logarithmic scales values so that the least is at an eighth and the largest at 1, and eight times the least, if it
// is larger, as well: what hardly moves should not look as if it did. It returns the least and the largest; values
// that are not above 0 are gaps.
func logarithmic(values []float64) (heights []float64, least, largest float64) {
	least, largest = math.NaN(), math.NaN()
	for _, v := range values {
		if finite(v) && v > 0 {
			if !(v >= least) {
				least = v
			}
			if !(v <= largest) {
				largest = v
			}
		}
	}
	span := max(math.Log(largest/least), math.Log(8))
	heights = make([]float64, len(values))
	for i, v := range values {
		heights[i] = math.NaN()
		if finite(v) && v > 0 {
			heights[i] = 0.125 + 0.875*math.Log(v/least)/span
		}
	}
	return heights, least, largest
}

// bar draws a share of width cells, to an eighth of a cell. What is above 0 shows.
func bar(share float64, width int) string {
	if !finite(share) || share <= 0 || width <= 0 {
		return ""
	}
	eighths := max(int(math.Round(min(share, 1)*float64(8*width))), 1)
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string(horizontal[rest])
	}
	return full
}

// tail returns the last n of values.
func tail(values []float64, n int) []float64 { return values[max(len(values)-n, 0):] }
