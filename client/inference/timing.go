package inferenceclient

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// parseTiming reads Server-Timing, such as "queue;dur=0.012, compute;dur=0.034", in milliseconds. What it does not
// understand it leaves out: nothing depends on it.
func parseTiming(header string) (queue, compute time.Duration) {
	for metric := range strings.SplitSeq(header, ",") {
		name, rest, _ := strings.Cut(metric, ";")
		into := &queue
		switch strings.TrimSpace(name) {
		case "queue":
		case "compute":
			into = &compute
		default:
			continue
		}
		for param := range strings.SplitSeq(rest, ";") {
			key, value, _ := strings.Cut(param, "=")
			if strings.TrimSpace(key) != "dur" {
				continue
			}
			ms, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(value), `"`), 64)
			if err == nil && ms >= 0 && ms < float64(math.MaxInt64)/float64(time.Millisecond) {
				*into = time.Duration(ms * float64(time.Millisecond))
			}
		}
	}
	return queue, compute
}
