package grpcmw

import (
	"context"
	"testing"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
)

func BenchmarkServer(b *testing.B) {
	l, _ := limit.New(limit.DefaultConfig())
	g, _ := breaker.New[Call](breaker.DefaultPolicy())
	unary, _ := ServerInterceptors(WithBreaker(g, ByMethod), WithLimit(func(context.Context, Call) *limit.Limit { return l }, nil))
	info := &grpc.UnaryServerInfo{FullMethod: unaryMethod}
	handler := func(context.Context, any) (any, error) { return nil, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unary(b.Context(), nil, info, handler); err != nil {
			b.Fatal(err)
		}
	}
}
