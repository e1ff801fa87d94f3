package inferenceclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	inferenceclient "github.com/dougong-io/dougong/client/inference"
)

// doubling serves a model that answers each row of one feature with its double.
func doubling() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/double", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"name":"double","versions":["1"],"platform":"example","inputs":[{"name":"input","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"output","datatype":"FP32","shape":[-1,1]}]}`)
	})
	mux.HandleFunc("POST /v2/models/double/infer", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"model_name":"double","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[2,1],"data":[0.5,1]}]}`)
	})
	return httptest.NewServer(mux)
}

func Example() {
	server := doubling()
	defer server.Close()

	config := inferenceclient.DefaultConfig()
	config.URLs = []string{server.URL} // or grpc://…, https://…, grpcs://…
	client, err := inferenceclient.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	outputs, err := client.Predict(context.Background(), "double", [][]float64{{0.25}, {0.5}})
	fmt.Println(outputs, err)
	// Output: [[0.5] [1]] <nil>
}

func ExampleClient_Infer() {
	server := doubling()
	defer server.Close()

	config := inferenceclient.DefaultConfig()
	config.URLs = []string{server.URL}
	config.Timeout = time.Second
	client, err := inferenceclient.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	answer, err := client.Infer(context.Background(), inferenceclient.Request{
		Model:  "double",
		Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", []float32{0.25, 0.5}, 2, 1)},
	})
	if errors.Is(err, inferenceclient.ErrOverloaded) {
		return // and answer from elsewhere
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	values, shape, err := answer.Float32s("output")
	fmt.Println(answer.Model, answer.Version, values, shape, err)
	// Output: double 1 [0.5 1] [2 1] <nil>
}
