package httpserver_test

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/dougong-io/dougong/internal/httpserver"
)

func Example() {
	cfg := httpserver.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	s, err := httpserver.New(cfg, httpserver.Deps{Service: "order", AccessLog: io.Discard})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Handle("GET /v1/orders/{id}", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, hasDeadline := r.Context().Deadline()
		fmt.Fprintf(w, "order %s, deadline %v", r.PathValue("id"), hasDeadline)
	}))
	ctx, stop := context.WithCancel(context.Background())
	err = s.Run(ctx, func() {
		defer stop()
		res, err := http.Get("http://" + s.Addr().String() + "/v1/orders/7")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		fmt.Println(string(body))
	})
	fmt.Println(err)
	// Output:
	// order 7, deadline true
	// <nil>
}
