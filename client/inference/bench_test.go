package inferenceclient_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	inferenceclient "github.com/dougong-io/dougong/client/inference"
)

// canned answers every request over HTTP/1.1 with the same bytes, and allocates nothing: what a benchmark counts is the
// client's. It returns its URL.
func canned(t testing.TB, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					length := 0
					for {
						line, err := r.ReadSlice('\n')
						if err != nil {
							return
						}
						if len(line) <= 2 {
							break
						}
						if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
							for _, c := range bytes.TrimSpace(value) {
								length = 10*length + int(c-'0')
							}
						}
					}
					if _, err := r.Discard(length); err != nil {
						return
					}
					if _, err := io.WriteString(conn, answer); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		conns.Wait()
	})
	return "http://" + listener.Addr().String()
}

const benchRows, benchFeatures = 16, 72

func benchRequest() inferenceclient.Request {
	return inferenceclient.Request{
		Model: "m", ID: "7", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", make([]float32, benchRows*benchFeatures), benchRows, benchFeatures)},
	}
}

func BenchmarkInferREST(b *testing.B) {
	head := fmt.Sprintf(`{"model_name":"m","model_version":"1","id":"7","outputs":[{"name":"output","datatype":"FP32","shape":[%d,1],"parameters":{"binary_data_size":%d}}]}`, benchRows, 4*benchRows)
	body := head + strings.Repeat("\x00", 4*benchRows)
	url := canned(b, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\nServer-Timing: queue;dur=0.012, compute;dur=0.034\r\nContent-Length: %d\r\n\r\n%s", len(head), len(body), body))
	b.Run("net/http", func(b *testing.B) { // the same bytes there and back, none of them looked at
		sent := `{"id":"7","parameters":{"binary_data_output":true},"inputs":[{"name":"input","datatype":"FP32","shape":[16,72],"parameters":{"binary_data_size":4608}}]}`
		sent += strings.Repeat("\x00", 4*benchRows*benchFeatures)
		transport := &http.Transport{DisableCompression: true}
		client := &http.Client{Transport: transport}
		defer transport.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), inferenceclient.DefaultConfig().Timeout)
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v2/models/m/infer", strings.NewReader(sent))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/octet-stream")
			r.Header.Set("Inference-Header-Content-Length", strconv.Itoa(len(sent)-4*benchRows*benchFeatures))
			resp, err := client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
			cancel()
		}
	})
	b.Run("client", func(b *testing.B) { benchInfer(b, url) })
}

func BenchmarkInferGRPC(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	inferencepb.RegisterGRPCInferenceServiceServer(server, fixed{})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	b.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			b.Error(err)
		}
	})
	b.Run("grpc-go", func(b *testing.B) { // the generated client alone; the server's allocations count in both
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		client := inferencepb.NewGRPCInferenceServiceClient(conn)
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), inferenceclient.DefaultConfig().Timeout)
			_, err := client.ModelInfer(ctx, &inferencepb.ModelInferRequest{
				ModelName: "m", Id: "7",
				Inputs:           []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{benchRows, benchFeatures}}},
				RawInputContents: [][]byte{make([]byte, 4*benchRows*benchFeatures)},
			})
			if err != nil {
				b.Fatal(err)
			}
			cancel()
		}
	})
	b.Run("client", func(b *testing.B) { benchInfer(b, "grpc://"+listener.Addr().String()) })
}

type fixed struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
}

func (fixed) ModelInfer(context.Context, *inferencepb.ModelInferRequest) (*inferencepb.ModelInferResponse, error) {
	return &inferencepb.ModelInferResponse{
		ModelName: "m", ModelVersion: "1", Id: "7",
		Outputs:           []*inferencepb.ModelInferResponse_InferOutputTensor{{Name: "output", Datatype: "FP32", Shape: []int64{benchRows, 1}}},
		RawOutputContents: [][]byte{make([]byte, 4*benchRows)},
	}, nil
}

func benchInfer(b *testing.B, url string) {
	cfg := inferenceclient.DefaultConfig()
	cfg.URLs = []string{url}
	c, err := inferenceclient.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		answer, err := c.Infer(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		if values, _, err := answer.Float32s("output"); err != nil || len(values) != benchRows {
			b.Fatal(values, err)
		}
	}
}
