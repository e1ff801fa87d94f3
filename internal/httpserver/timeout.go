package httpserver

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrTimeoutHeader is the error of a timeout header that cannot be read.
var ErrTimeoutHeader = errors.New("malformed timeout")

const maxTimeoutHeader = 32 // longer ones are not a number that anyone means

// ParseRequestTimeout reads X-Request-Timeout: a Go duration (250ms, 1m30s) or
// seconds (2, 0.25). Values that time.Duration cannot hold become its largest.
func ParseRequestTimeout(s string) (time.Duration, error) {
	if s == "" || len(s) > maxTimeoutHeader || strings.ContainsAny(s, "+-") {
		return 0, ErrTimeoutHeader
	}
	if last := s[len(s)-1]; last >= '0' && last <= '9' || last == '.' {
		for _, c := range []byte(s) {
			if (c < '0' || c > '9') && c != '.' {
				return 0, ErrTimeoutHeader
			}
		}
		f, err := strconv.ParseFloat(s, 64)
		switch {
		case err != nil:
			return 0, ErrTimeoutHeader
		case f >= math.MaxInt64/float64(time.Second):
			return math.MaxInt64, nil
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, ErrTimeoutHeader
	}
	return d, nil
}

// ParseGRPCTimeout reads grpc-timeout as the gRPC protocol over HTTP/2 defines
// it: one to eight digits and a unit of H, M, S, m, u, n.
func ParseGRPCTimeout(s string) (time.Duration, error) {
	if len(s) < 2 || len(s) > 9 {
		return 0, ErrTimeoutHeader
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, ErrTimeoutHeader
	}
	var n time.Duration
	for _, c := range []byte(s[:len(s)-1]) {
		if c < '0' || c > '9' {
			return 0, ErrTimeoutHeader
		}
		n = n*10 + time.Duration(c-'0')
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64, nil
	}
	return n * unit, nil
}

// callerTimeout returns the shortest timeout that the caller stated, ok false
// when there is none.
func callerTimeout(h http.Header) (d time.Duration, ok bool, err error) {
	d = math.MaxInt64
	for _, f := range [...]struct {
		name  string
		parse func(string) (time.Duration, error)
	}{{"X-Request-Timeout", ParseRequestTimeout}, {"Grpc-Timeout", ParseGRPCTimeout}} {
		v := h[f.name]
		if len(v) == 0 {
			continue
		}
		if len(v) > 1 {
			return 0, false, ErrTimeoutHeader
		}
		one, err := f.parse(v[0])
		if err != nil {
			return 0, false, err
		}
		d, ok = min(d, one), true
	}
	return d, ok, nil
}
