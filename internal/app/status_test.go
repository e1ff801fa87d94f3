package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/grpcserver"
	"github.com/dougong-io/dougong/internal/httpserver"
)

func requestsOf(ages ...time.Duration) (all []httpserver.Request) {
	for _, age := range ages {
		all = append(all, httpserver.Request{Method: "POST", Route: "/x", Age: age * time.Second})
	}
	return all
}

func callsOf(ages ...time.Duration) (all []grpcserver.Call) {
	for _, age := range ages {
		all = append(all, grpcserver.Call{Method: "/a.B/C", Age: age * time.Second})
	}
	return all
}

func TestStatusShowsTheOldestOfBothProtocols(t *testing.T) {
	many := make([]time.Duration, 30)
	for i := range many {
		many[i] = time.Duration(30 - i)
	}
	for _, c := range []struct {
		requests []httpserver.Request
		calls    []grpcserver.Call
		want     string // kinds and ages
	}{
		{nil, nil, ""},
		{requestsOf(3, 1), nil, "http 3s, http 1s"},
		{nil, callsOf(3, 1), "grpc 3s, grpc 1s"},
		{requestsOf(9, 5, 1), callsOf(7, 5, 4), "http 9s, grpc 7s, http 5s, grpc 5s, grpc 4s, http 1s"},
		{requestsOf(many...), callsOf(40, 25), "grpc 40s, http 30s, http 29s, http 28s, http 27s, http 26s, http 25s, grpc 25s, http 24s, http 23s, http 22s, http 21s, " +
			"http 20s, http 19s, http 18s, http 17s, http 16s, http 15s, http 14s, http 13s"},
	} {
		var got []string
		lines := oldest(c.requests, c.calls)
		for _, line := range lines {
			kind := "grpc"
			if strings.HasPrefix(line, "POST") {
				kind = "http"
			}
			_, age, _ := strings.Cut(line, "since ")
			got = append(got, fmt.Sprint(kind, " ", age))
		}
		if lines == nil || strings.Join(got, ", ") != c.want {
			t.Errorf("%v\nwant %s", got, c.want)
		}
	}
}
