package grpcserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue writes a certificate and its key to dir.
func (a *authority) issue(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serialOf asks over TLS, on a connection of its own, and returns the serial of the server's certificate.
func serialOf(t *testing.T, r *running, conf *tls.Config) (int64, error) {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	var p peer.Peer
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := ask(ctx, cc, grpc.Peer(&p)); err != nil {
		return 0, err
	}
	return p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestTLSReloadsItsCertificate(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, dir, 100)
	cfg.TLS.MinVersion = "1.3"
	r := start(t, cfg, Deps{}, inference(isReady))
	if serial, err := serialOf(t, r, &tls.Config{RootCAs: ca.pool}); serial != 100 || err != nil {
		t.Fatal(serial, err)
	}
	if _, err := serialOf(t, r, &tls.Config{RootCAs: ca.pool, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 in spite of min_version 1.3")
	}
	wantCode(t, ask(within(t, time.Second), r.dial(t)), codes.Unavailable, "")
	ca.issue(t, dir, 200)
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if serial, _ := serialOf(t, r, &tls.Config{RootCAs: ca.pool}); serial == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the new certificate is not used")
		}
	}
}

func TestMutualTLSRefusesClientsWithoutACertificate(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, dir, 1)
	cfg.TLS.ClientCAFile = filepath.Join(dir, "ca.pem")
	writePEM(t, cfg.TLS.ClientCAFile, "CERTIFICATE", ca.cert.Raw)
	r := start(t, cfg, Deps{}, inference(isReady))
	with := func(a *authority) *tls.Config {
		cert, err := tls.LoadX509KeyPair(a.issue(t, t.TempDir(), 2))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{cert}}
	}
	if _, err := serialOf(t, r, with(ca)); err != nil {
		t.Error("a known client:", err)
	}
	_, err := serialOf(t, r, &tls.Config{RootCAs: ca.pool})
	wantCode(t, err, codes.Unavailable, "")
	_, err = serialOf(t, r, with(stranger))
	wantCode(t, err, codes.Unavailable, "")
	os.WriteFile(cfg.TLS.ClientCAFile, []byte("nonsense"), 0o600)
	if _, err := New(cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "tls.client_ca_file:") {
		t.Errorf("error %v", err)
	}
}

func TestTokensAreLoadedAgain(t *testing.T) {
	svc := inference(isReady)
	svc.Method = func(string) Method { return Method{Role: "write"} }
	cfg := testConfig()
	path, plain := writeTokens(t)
	cfg.TokensFile = path
	r := start(t, cfg, Deps{}, svc)
	cc := r.dial(t)
	if err := ask(withToken(plain["write"]), cc); err != nil {
		t.Fatal(err)
	}
	other, _ := writeTokens(t)
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(15 * time.Second); ask(withToken(plain["write"]), cc) == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the removed token is still good")
		}
	}
}
