package app

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/grpcserver"
	"github.com/dougong-io/dougong/internal/httpserver"
)

func TestTakenPortNamesTheWholeKey(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for _, c := range []struct {
		keys  []string
		where func(*Config) []*string
	}{
		{[]string{"http.listen", "grpc.listen"}, func(c *Config) []*string { return []*string{&c.HTTP.Listen, &c.GRPC.Listen} }},
		{[]string{"grpc.listen"}, func(c *Config) []*string { return []*string{&c.GRPC.Listen} }},
		{[]string{"admin.listen"}, func(c *Config) []*string { return []*string{&c.Admin.Listen} }},
	} {
		cfg := DefaultConfig()
		cfg.Lifecycle.DrainDelay = 0
		cfg.HTTP.Listen, cfg.GRPC.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		for _, listen := range c.where(&cfg) {
			*listen = addr
		}
		a, err := New(cfg, nil, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err = a.Run(ctx, func() { t.Error("it is up") })
		cancel()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%v: %v", c.keys, err)
			continue
		}
		// They begin at the same time, so one of two may have ended the other before it came to its own.
		said := 0
		for _, key := range c.keys {
			if strings.Contains(err.Error(), key+": listen tcp "+addr+": bind: address already in use; choose another address") {
				said++
			}
		}
		if said == 0 || strings.Contains(err.Error(), "the key listen") {
			t.Errorf("%v: %v", c.keys, err)
		}
	}
}

func TestOtherFaultsOfServersHaveTheKeyToo(t *testing.T) {
	fault := errors.New("the sink took nothing")
	run := listening("grpc", func(_ context.Context, ready func()) error { ready(); return fault })
	ready := false
	if err := run(t.Context(), func() { ready = true }); err == nil || err.Error() != "grpc: the sink took nothing" || !errors.Is(err, fault) || !ready {
		t.Errorf("%v, ready: %v", err, ready)
	}
}

func TestWelcomeSaysWhatIsServedOverGRPC(t *testing.T) {
	addr, every := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, &net.TCPAddr{IP: net.IPv4zero, Port: 8081}
	plain := grpcserver.DefaultConfig()
	bare, secret := plain, plain
	bare.Reflection = false
	secret.TLS = httpserver.TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem"}
	for _, c := range []struct {
		addr net.Addr
		cfg  grpcserver.Config
		want string
	}{
		{addr, plain, "grpc://127.0.0.1:8081  the same over gRPC, with health and reflection"},
		{every, bare, "grpc://127.0.0.1:8081  the same over gRPC, with health"},
		{addr, secret, "grpcs://127.0.0.1:8081  the same over gRPC, with health and reflection"},
	} {
		if got := grpcLine(c.addr, c.cfg); got != c.want {
			t.Errorf("%s\nand should be\n%s", got, c.want)
		}
	}
}
