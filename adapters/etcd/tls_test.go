package etcd

import (
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
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// certificate writes one that signs itself, for a server and a client on this machine, and returns its files.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, DNSNames: []string{"etcd.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestMutualTLS(t *testing.T) {
	certFile, keyFile := certificate(t)
	own, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert})))
	f := &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}
	pb.RegisterKVServer(server, f)
	pb.RegisterWatchServer(server, f)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	endpoint := "https://" + l.Addr().String()
	for name, c := range map[string]struct {
		tls  TLSConfig
		want string // in the error; "": it works
	}{
		"all there":          {TLSConfig{CAFile: certFile, CertFile: certFile, KeyFile: keyFile, ServerName: "etcd.test"}, ""},
		"no own certificate": {TLSConfig{CAFile: certFile, ServerName: "etcd.test"}, "etcd: read"},
		"another name":       {TLSConfig{CAFile: certFile, CertFile: certFile, KeyFile: keyFile, ServerName: "other.test"}, "other.test"},
		"system authorities": {TLSConfig{}, "certificate"},
		"no such file":       {TLSConfig{CAFile: "/nowhere"}, "tls: open /nowhere"},
		"no PEM":             {TLSConfig{CAFile: keyFile}, "holds no certificate"},
		"no key":             {TLSConfig{CertFile: certFile, KeyFile: certFile}, "tls: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := runAt(t, endpoint, func(config *Config) { config.TLS, config.RequestTimeout = c.tls, 10*time.Second })
			if c.want == "" {
				if got := next(t, h.applied); got != "one" {
					t.Errorf("applied %q", got)
				}
			} else if err := next(t, h.failed); !strings.Contains(err.Error(), c.want) {
				t.Errorf("told of %v, want %s", err, c.want)
			}
		})
	}
}
