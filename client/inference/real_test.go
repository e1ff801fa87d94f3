package inferenceclient_test

import (
	"context"
	"encoding/csv"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that bytesCodec builds upon
	"google.golang.org/grpc/mem"

	inferenceclient "github.com/dougong-io/dougong/client/inference"
	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/internal/config"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/services/inference"
)

// bytesCodec gives the service its messages as bytes, as the house's server does.
type bytesCodec struct{ encoding.CodecV2 }

func (c bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(interface{ UnmarshalBuffers(mem.BufferSlice) error }); ok {
		return m.UnmarshalBuffers(data)
	}
	return c.CodecV2.Unmarshal(data, v)
}

func (c bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(interface {
		MarshalBuffers() (mem.BufferSlice, error)
	}); ok {
		return m.MarshalBuffers()
	}
	return c.CodecV2.Marshal(v)
}

// demo runs the inference service with the demo models, and returns its URLs over REST and gRPC.
func demo(t testing.TB) (rest, overGRPC string) {
	t.Helper()
	s, err := inference.New(inference.DefaultConfig(), inference.Deps{
		Models: models.Repository,
		Decode: func(file string, data []byte, into any) error { return config.Decode(file, data, into) },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.Register(func(pattern, _ string, h http.Handler) { mux.Handle(pattern, h) })
	server := httptest.NewServer(mux)
	grpcServer := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{encoding.GetCodecV2("proto")}))
	s.RegisterGRPC(func(desc *grpc.ServiceDesc, impl any, _ map[string]string) { grpcServer.RegisterService(desc, impl) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	run, serving := make(chan error, 1), make(chan error, 1)
	go func() { run <- s.Run(ctx) }()
	go func() { serving <- grpcServer.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		grpcServer.Stop()
		stop()
		if err := errors.Join(<-run, <-serving); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Lifecycle().Wait(ctx, lifecycle.State.Serving); err != nil {
		t.Fatal(err)
	}
	return server.URL, "grpc://" + listener.Addr().String()
}

// forms are a client for each way to ask the service.
func forms(t *testing.T) map[string]*inferenceclient.Client {
	rest, overGRPC := demo(t)
	clients := map[string]*inferenceclient.Client{}
	for form, url := range map[string]string{"REST, JSON": rest, "REST, binary": rest, "gRPC": overGRPC} {
		cfg := inferenceclient.DefaultConfig()
		cfg.URLs, cfg.JSON = []string{url}, form == "REST, JSON"
		clients[form] = connect(t, cfg)
	}
	return clients
}

func TestDougongAnswersInEachForm(t *testing.T) {
	for form, c := range forms(t) {
		t.Run(form, func(t *testing.T) {
			ctx := t.Context()
			ready, err := c.ModelReady(ctx, "loan-mini", "1")
			if err != nil || !ready {
				t.Error(ready, err)
			}
			s, err := c.ServerMetadata(ctx)
			if err != nil || s.Name != "dougong" || !slices.Contains(s.Extensions, "binary_tensor_data") {
				t.Error(s, err)
			}
			for name, inputs := range map[string][]inferenceclient.Tensor{
				"FP32":      {inferenceclient.NewTensor("input", []float32{0.1, 0.9, 0.1, 0.9}, 2, 2)},
				"FP64":      {inferenceclient.NewTensor("input", []float64{0.1, 0.9, 0.1, 0.9}, 2, 2)},
				"by column": {inferenceclient.NewTensor("revol_util", []float32{0.9, 0.9}), inferenceclient.NewTensor("int_rate", []float64{0.1, 0.1}, 2, 1)},
			} {
				r, err := c.Infer(ctx, inferenceclient.Request{Model: "loan-mini", ID: "id-1", Inputs: inputs})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				values, shape, err := r.Float32s("output")
				if err != nil || !slices.Equal(values, []float32{0.03645608, 0.03645608}) || !slices.Equal(shape, []int{2, 1}) {
					t.Errorf("%s: %v %v %v", name, values, shape, err)
				}
				if r.Version != "1" || r.ID != "id-1" || r.Compute <= 0 {
					t.Errorf("%s: %+v", name, r)
				}
			}
			// Integers and booleans are values too: 0 and 1.
			whole, err := c.Infer(ctx, inferenceclient.Request{Model: "loan-mini", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", []uint8{0, 1}, 1, 2)}})
			if err != nil {
				t.Fatal(err)
			}
			truth, err := c.Infer(ctx, inferenceclient.Request{Model: "loan-mini", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", []bool{false, true}, 1, 2)}})
			if err != nil {
				t.Fatal(err)
			}
			a, _, _ := whole.Float32s("output")
			b, _, _ := truth.Float32s("output")
			if len(a) != 1 || !slices.Equal(a, b) {
				t.Error(a, b)
			}
			for want, r := range map[error]inferenceclient.Request{
				inferenceclient.ErrNotFound: {Model: "nobody", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", []float32{1, 2}, 1, 2)}},
				inferenceclient.ErrInvalid:  {Model: "loan-mini", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", []float32{1, 2, 3}, 1, 3)}},
				inferenceclient.ErrTooLarge: {Model: "loan-mini", Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", make([]uint8, 40_000), 20_000, 2)}},
			} {
				if _, err := c.Infer(ctx, r); !errors.Is(err, want) {
					t.Errorf("%v is not %v", err, want)
				} else {
					t.Log(err)
				}
			}
		})
	}
}

func TestPredictGivesTheReferenceAnswers(t *testing.T) {
	rows, want := cases(t, "lite", 72)
	for form, c := range forms(t) {
		t.Run(form, func(t *testing.T) {
			outputs, err := c.Predict(t.Context(), "loan-lite", rows)
			if err != nil || len(outputs) != len(rows) {
				t.Fatalf("%d outputs of %d: %v", len(outputs), len(rows), err)
			}
			for i, output := range outputs {
				if len(output) != 1 || float32(output[0]) != want[i] {
					t.Fatalf("row %d: %v, not %v", i, output, want[i])
				}
			}
			for _, bad := range [][][]float64{nil, {{}}, {{1, 2}, {1}}, {append([]float64{1e300}, rows[0][1:]...)}, {{1}}} {
				_, err := c.Predict(t.Context(), "loan-lite", bad)
				failed, ok := errors.AsType[*inferenceclient.Error](err)
				sent := len(bad) == 1 && len(bad[0]) == 1 // how many features there are the server knows
				if !ok || failed.Kind != inferenceclient.ErrInvalid || failed.Attempts > 0 != sent {
					t.Errorf("%v: %v", bad, err)
				}
			}
			if _, err := c.Predict(t.Context(), "nobody", rows); !errors.Is(err, inferenceclient.ErrNotFound) {
				t.Error(err)
			}
		})
	}
}

// cases are rows of reference data, and the answers of the training library to them.
func cases(t *testing.T, column string, features int) (rows [][]float64, answers []float32) {
	t.Helper()
	f, err := os.Open("../../examples/data/loan-default/cases.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(records[0], column)
	for _, record := range records[1:] {
		row := make([]float64, features)
		for i := range row {
			if row[i], err = strconv.ParseFloat(record[i], 64); record[i] == "" {
				row[i], err = math.NaN(), nil
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		answer, err := strconv.ParseFloat(record[at], 32)
		if err != nil {
			t.Fatal(err)
		}
		rows, answers = append(rows, row), append(answers, float32(answer))
	}
	return rows, answers
}
