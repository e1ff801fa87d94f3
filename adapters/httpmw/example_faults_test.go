//go:build !dougong_nofault

package httpmw_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dougong-io/dougong/adapters/httpmw"
	"github.com/dougong-io/dougong/kit/fault"
)

// One call fails, as if the handler had, and then no more.
func ExampleFaults() {
	faults, err := fault.New(fault.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer faults.Close()
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") })
	server := httptest.NewServer(httpmw.Faults(faults, httpmw.Caller{})(hello))
	defer server.Close()

	err = faults.Put(fault.Admin, fault.Rule{
		ID: "once", Point: "httpmw.server", Count: 1, For: time.Minute,
		Error: &fault.Failure{HTTPStatus: http.StatusServiceUnavailable, RetryAfter: time.Second},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		resp, err := http.Get(server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%d %s%s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
	// Output:
	// 503 1{"status":503,"title":"Service Unavailable","detail":"injected fault at httpmw.server (rule once)","code":"injected_fault"}
	// 200 hello
}
