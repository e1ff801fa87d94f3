package problem_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dougong-io/dougong/kit/problem"
)

func ExampleWrite() {
	w := httptest.NewRecorder()
	problem.Write(w, &problem.Problem{
		Status:     http.StatusTooManyRequests,
		Code:       "queue_full",
		Detail:     "320 requests are here already",
		RetryAfter: 1200 * time.Millisecond,
	})
	fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Header().Get("Retry-After"))
	fmt.Print(w.Body)
	// Output:
	// 429 application/problem+json 2
	// {"status":429,"title":"Too Many Requests","detail":"320 requests are here already","code":"queue_full"}
}

func ExampleRead() {
	w := httptest.NewRecorder()
	problem.Write(w, &problem.Problem{Status: http.StatusConflict, Code: "out_of_stock", Detail: "none left"})
	p, err := problem.Read(w.Result(), 64<<10)
	fmt.Println(p, err)

	proxy := httptest.NewRecorder()
	http.Error(proxy, "upstream connect error", http.StatusServiceUnavailable)
	_, err = problem.Read(proxy.Result(), 64<<10)
	fmt.Println(errors.Is(err, problem.ErrNotProblem))
	fmt.Println(err)
	// Output:
	// problem 409 out_of_stock: none left <nil>
	// true
	// problem: answer with status 503 is not a problem document: content type is "text/plain; charset=utf-8": "upstream connect error\n"
}
