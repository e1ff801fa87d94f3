package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"google.golang.org/grpc"
)

// The baseline: net/http and grpc-go as they come. A message is read, for gRPC with the generated code, and a constant
// of the size of our answer is sent.

const constantAnswer = 0.026563013

func serveConstant(addr, overGRPC string) error {
	listener, err := net.Listen("tcp", overGRPC)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	inferencepb.RegisterGRPCInferenceServiceServer(server, constantService{})
	go server.Serve(listener) // ends with the process

	plain := []byte(`{"model":"loan-lite","version":"1","output":[0.026563013]}` + "\n")
	one, header := constantBinary(1)
	many, manyHeader := constantBinary(128)
	oneJSON, manyJSON := constantJSON(1), constantJSON(128)
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch {
		case !strings.HasPrefix(r.URL.Path, "/v2/"):
			w.Header().Set("Content-Type", "application/json")
			w.Write(plain)
		case r.Header.Get(headerLength) == "":
			w.Header().Set("Content-Type", "application/json")
			if n < 4096 {
				w.Write(oneJSON)
			} else {
				w.Write(manyJSON)
			}
		case n < 4096:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set(headerLength, header)
			w.Write(one)
		default:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set(headerLength, manyHeader)
			w.Write(many)
		}
	}))
}

// constantJSON is an answer with a flat tensor of so many rows.
func constantJSON(rows int) []byte {
	data := strings.TrimSuffix(strings.Repeat(fmt.Sprint(constantAnswer, ","), rows), ",")
	return fmt.Appendf(nil, `{"model_name":"loan-lite","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[%d,1],"data":[%s]}]}`, rows, data)
}

// constantBinary is an answer with a binary tensor of so many rows, and the length of its JSON.
func constantBinary(rows int) (body []byte, header string) {
	json := fmt.Sprintf(`{"model_name":"loan-lite","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[%d,1],"parameters":{"binary_data_size":%d}}]}`, rows, 4*rows)
	return append([]byte(json), constantTensor(rows)...), fmt.Sprint(len(json))
}

func constantTensor(rows int) []byte {
	var tensor []byte
	for range rows {
		tensor = binary.LittleEndian.AppendUint32(tensor, math.Float32bits(constantAnswer))
	}
	return tensor
}

type constantService struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
}

func (constantService) ModelInfer(_ context.Context, r *inferencepb.ModelInferRequest) (*inferencepb.ModelInferResponse, error) {
	rows := r.Inputs[0].Shape[0]
	return &inferencepb.ModelInferResponse{
		ModelName: r.ModelName, ModelVersion: "1",
		Outputs:           []*inferencepb.ModelInferResponse_InferOutputTensor{{Name: "output", Datatype: "FP32", Shape: []int64{rows, 1}}},
		RawOutputContents: [][]byte{constantTensor(int(rows))},
	}, nil
}
