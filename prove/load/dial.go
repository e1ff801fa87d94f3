package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// dialer opens connections to the target and counts them.
type dialer struct {
	run     *run
	network net.Dialer
	tls     *tls.Config // nil: clear text
	address string
}

func newDialer(r *run) (*dialer, error) {
	d := &dialer{run: r, address: r.target.Host, network: net.Dialer{KeepAlive: 15 * time.Second}}
	if !secure(r.target) {
		return d, nil
	}
	conf := r.plan.TLS
	d.tls = &tls.Config{ServerName: conf.ServerName, InsecureSkipVerify: conf.Insecure, MinVersion: tls.VersionTLS12, ClientSessionCache: nil}
	if d.tls.ServerName == "" {
		d.tls.ServerName = r.target.Hostname()
	}
	switch r.proto {
	case HTTP2, GRPC:
		d.tls.NextProtos = []string{"h2"}
	default:
		d.tls.NextProtos = []string{"http/1.1"}
	}
	if conf.CA != "" {
		pem, err := os.ReadFile(conf.CA)
		if err != nil {
			return nil, fmt.Errorf("tls: ca: %w", err)
		}
		d.tls.RootCAs = x509.NewCertPool()
		if !d.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: ca: %s holds no certificate in PEM", conf.CA)
		}
	}
	if conf.Cert != "" || conf.Key != "" {
		pair, err := tls.LoadX509KeyPair(conf.Cert, conf.Key)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		d.tls.Certificates = []tls.Certificate{pair}
	}
	return d, nil
}

var errNoHTTP2 = errors.New("the target does not speak HTTP/2 (no h2 by ALPN)")

// dial opens one connection, TLS included, and counts it.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	began := time.Now()
	conn, err := d.open(ctx)
	if err == nil {
		d.run.stats.connectedIn(d.run.clock.now(), time.Since(began))
	}
	return conn, err
}

func (d *dialer) open(ctx context.Context) (net.Conn, error) {
	conn, err := d.network.DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		secured := tls.Client(conn, d.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if d.tls.NextProtos[0] == "h2" && strings.Contains(err.Error(), "no application protocol") {
				err = errNoHTTP2
			}
			return nil, &handshakeError{err}
		}
		if want := d.tls.NextProtos[0]; want == "h2" && secured.ConnectionState().NegotiatedProtocol != want {
			conn.Close()
			return nil, &handshakeError{errNoHTTP2}
		}
		conn = secured
	}
	return conn, nil
}
