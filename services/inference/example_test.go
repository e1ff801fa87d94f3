package inference_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/internal/config"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/services/inference"
)

func Example() {
	service, err := inference.New(inference.DefaultConfig(), inference.Deps{
		Models: models.Repository,
		Decode: func(file string, data []byte, into any) error { return config.Decode(file, data, into) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	service.Register(func(pattern, role string, h http.Handler) { mux.Handle(pattern, h) })

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error)
	go func() { ended <- service.Run(ctx) }()
	if _, err := service.Lifecycle().Wait(ctx, lifecycle.State.Serving); err != nil {
		fmt.Println(err)
		return
	}

	server := httptest.NewServer(mux)
	answer, err := http.Post(server.URL+"/v1/predict", "application/json", strings.NewReader(`{"model":"loan-mini","input":[0.1,0.9]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	fmt.Print(answer.StatusCode, " ", string(body))

	server.Close()
	stop()
	fmt.Println(<-ended)
	// Output:
	// 200 {"model":"loan-mini","version":"1","output":[0.03645608]}
	// <nil>
}
