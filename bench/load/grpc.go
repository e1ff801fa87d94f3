package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

// Concurrent calls of all gRPC clients, and the connections that share them.
const (
	grpcCallers     = 64
	grpcConnections = 8
)

// serveGRPC is the health service of grpc-go with reflection. With a stall, its checks stall.
func serveGRPC(addr string, s *stall) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if s != nil {
			s.pass()
		}
		return handle(ctx, request)
	}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	return server.Serve(listener)
}

// bareGRPC is a loop as one writes it by hand: generated types, a deadline for each call, nothing measured.
func bareGRPC(addr string, length time.Duration) error {
	var clients []healthpb.HealthClient
	for range grpcConnections {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		clients = append(clients, healthpb.NewHealthClient(conn))
	}
	var calls atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	end := time.Now().Add(length)
	for i := range grpcCallers {
		group.Go(func() {
			n := int64(0)
			for time.Now().Before(end) {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				_, err := clients[i%len(clients)].Check(ctx, &healthpb.HealthCheckRequest{})
				cancel()
				if err != nil {
					failed.Store(&err)
					return
				}
				n++
			}
			calls.Add(n)
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	fmt.Println(calls.Load())
	return nil
}
