//go:build !dougong_nofault

package faulthttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulthttp"
)

var bank = fault.Def{Name: "bank.http", Doc: "The bank is asked.", Attrs: []string{"method", "host", "path"}, Effects: fault.Bytes}

func ExampleTransport() {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer set.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "paid") }))
	defer server.Close()
	client := &http.Client{Transport: faulthttp.Transport(nil, faulthttp.Points{Exchange: set.Point(bank)})}

	err = set.Put(fault.Admin, fault.Rule{
		ID: "too-much", Point: "bank.http", Where: map[string]string{"path": "/pay"}, Count: 1, For: time.Minute,
		Error: &fault.Failure{HTTPStatus: 503, RetryAfter: 2 * time.Second},
	})
	if err != nil {
		panic(err)
	}
	for range 2 {
		answer, err := client.Get(server.URL + "/pay")
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		fmt.Printf("%s, retry after %q: %s\n", answer.Status, answer.Header.Get("Retry-After"), body)
	}
	// Output:
	// 503 Service Unavailable, retry after "2": injected fault at bank.http (rule too-much)
	//
	// 200 OK, retry after "": paid
}
