package grpcmw_test

import (
	"context"
	"fmt"
	"net"

	grpcmw "github.com/dougong-io/dougong/adapters/grpc"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// A server with a limit, and a client with a circuit for each method.
func Example() {
	l, _ := limit.New(limit.DefaultConfig())
	unary, stream := grpcmw.ServerInterceptors(grpcmw.WithLimit(func(_ context.Context, c grpcmw.Call) *limit.Limit {
		if c.Stream {
			return nil // they last, and need a limit of their own
		}
		return l
	}, nil))
	options, err := grpcmw.DefaultServerConfig().ServerOptions()
	if err != nil {
		fmt.Println(err)
		return
	}
	s := grpc.NewServer(append(options, grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream))...)
	defer s.Stop()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go s.Serve(listener)

	g, _ := breaker.New[grpcmw.Call](breaker.DefaultPolicy())
	callUnary, callStream := grpcmw.ClientInterceptors(grpcmw.WithBreaker(g, grpcmw.ByMethod))
	dial, err := grpcmw.DefaultClientConfig().DialOptions()
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := grpc.NewClient(listener.Addr().String(), append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(callUnary), grpc.WithChainStreamInterceptor(callStream))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	check := grpc_health_v1.NewHealthClient(conn)
	answer, err := check.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	l.Close() // as a server does that stops
	_, err = check.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	fmt.Println(status.Code(err))
	// Output:
	// SERVING <nil>
	// Unavailable
}
