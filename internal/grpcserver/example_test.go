package grpcserver_test

import (
	"context"
	"fmt"

	"github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/internal/grpcserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

type models struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
}

func (models) ModelReady(_ context.Context, r *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
	return &inferencepb.ModelReadyResponse{Ready: r.GetName() == "loan-default"}, nil
}

func Example() {
	cfg := grpcserver.DefaultConfig()
	cfg.Listen, cfg.AccessLog = "127.0.0.1:0", false
	s, err := grpcserver.New(cfg, grpcserver.Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Register(grpcserver.Service{Desc: &inferencepb.GRPCInferenceService_ServiceDesc, Impl: models{}})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, ended := make(chan struct{}), make(chan error)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	<-ready

	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	client := inferencepb.NewGRPCInferenceServiceClient(conn)
	answer, err := client.ModelReady(ctx, &inferencepb.ModelReadyRequest{Name: "loan-default"})
	fmt.Println(answer.GetReady(), err)
	_, err = client.ModelReady(ctx, &inferencepb.ModelReadyRequest{})
	fmt.Println(status.Code(err))

	conn.Close()
	stop()
	fmt.Println(<-ended)
	// Output:
	// true <nil>
	// InvalidArgument
	// <nil>
}
