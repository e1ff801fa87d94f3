package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/stats"
)

// dial returns a client that ends with ctx. It has not connected yet, except to log in. broken is called when any
// connection of it ends.
//
// A stream of changes resumes by itself on a new connection, even where etcd came back with another history, in which
// it would wait for a revision that is far off. So whoever has the client must look at everything anew.
func dial(ctx context.Context, c Config, broken func()) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints:   c.Endpoints,
		Username:    c.Username,
		DialTimeout: c.DialTimeout,
		Context:     ctx,
		Logger:      zap.NewNop(), // what matters comes back as an error
		// etcd takes more than one ping in 5 s for an attack.
		DialKeepAliveTime:    max(10*time.Second, c.CheckInterval),
		DialKeepAliveTimeout: c.RequestTimeout,
		MaxCallRecvMsgSize:   maxMessage,
		MaxUnaryRetries:      2, // with a new token, should the old one have ended; else we try again ourselves
		DialOptions: []grpc.DialOption{grpc.WithStatsHandler(connections{broken}), grpc.WithChainUnaryInterceptor(failFast), grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: c.RetryMin, Multiplier: 2, Jitter: 0.5, MaxDelay: c.RetryMax},
			MinConnectTimeout: c.DialTimeout,
		})},
	}
	if c.PasswordFile != "" {
		data, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("etcd: password_file: %w", err)
		}
		line, _, _ := bytes.Cut(data, []byte("\n"))
		config.Password = string(bytes.TrimSuffix(line, []byte("\r")))
		if config.Password == "" {
			return nil, fmt.Errorf("etcd: password_file: the first line of %s is empty", c.PasswordFile)
		}
	}
	var err error
	if config.TLS, err = c.TLS.load(); err != nil {
		return nil, fmt.Errorf("etcd: tls: %w", err)
	}
	if c.TLS.ServerName != "" {
		config.DialOptions = append(config.DialOptions, grpc.WithTransportCredentials(named{credentials.NewTLS(config.TLS), c.TLS.ServerName}))
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("etcd: connect: %w", err)
	}
	return client, nil
}

// failFast has a call end with the reason why there is no connection, where the client would wait until time is up
// and then know no more than that.
func failFast(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, request, reply, conn, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

// connections hears of the end of connections.
type connections struct{ broken func() }

func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (connections) HandleRPC(context.Context, stats.RPCStats)                         {}
func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (c connections) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		c.broken()
	}
}

// named expects one name of every member. The one in tls.Config does not count: the client names each address.
type named struct {
	credentials.TransportCredentials
	name string
}

func (n named) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, n.name, conn)
}

func (n named) Clone() credentials.TransportCredentials {
	return named{n.TransportCredentials.Clone(), n.name}
}

// load returns nil when nothing is configured: https then means the authorities of the system.
func (c TLSConfig) load() (*tls.Config, error) {
	if c == (TLSConfig{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		data, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, errors.New(c.CAFile + " holds no certificate in PEM form")
		}
	}
	if c.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}
