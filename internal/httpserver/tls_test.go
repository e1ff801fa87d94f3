package httpserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// client speaks TLS with the authority, on connections of its own.
func (a *authority) client(certs ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: a.pool, Certificates: certs},
	}}
}

func TestTLSServesHTTP2AndReloadsItsCertificate(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, dir, 100)
	cfg.TLS.MinVersion = "1.3"
	r := start(t, cfg, Deps{}, handle("POST /x", "", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if _, _, hijackErr := http.NewResponseController(w).Hijack(); !errors.Is(hijackErr, http.ErrNotSupported) {
			t.Errorf("hijack over %s: %v", r.Proto, hijackErr)
		}
		if err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
			return
		}
		w.Write(append([]byte(r.Proto+" "), b...))
		w.(http.Flusher).Flush()
	}))
	serial := func() int64 {
		res, err := ca.client().Post(r.url+"/x", "", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); string(b) != "HTTP/2.0 body" {
			t.Errorf("got %q", b)
		}
		return res.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 100 {
		t.Fatalf("serial %d", got)
	}
	ca.issue(t, dir, 200)
	for end := time.Now().Add(15 * time.Second); serial() != 200; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the new certificate is not used")
		}
	}
	old := ca.client()
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	if _, err := old.Get(r.url + "/healthz"); err == nil {
		t.Error("TLS 1.2 in spite of min_version 1.3")
	}
}

func TestSlowBodyOverHTTP2IsTimedOut(t *testing.T) {
	ca := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, t.TempDir(), 1)
	cfg.ReadHeaderTimeout, cfg.ReadTimeout = 300*time.Millisecond, 300*time.Millisecond
	seen := make(chan error, 1)
	r := start(t, cfg, Deps{}, handle("POST /x", "", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		seen <- err
		w.WriteHeader(http.StatusRequestTimeout)
	}))
	body, feed := io.Pipe()
	defer feed.Close()
	go feed.Write([]byte("half"))
	client := ca.client()
	client.Transport.(*http.Transport).DisableKeepAlives = false
	defer client.CloseIdleConnections()
	res, err := client.Post(r.url+"/x", "", body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := <-seen; !errors.Is(err, os.ErrDeadlineExceeded) || res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("the handler saw %v, the client %d", err, res.StatusCode)
	}
}

func TestMutualTLSRefusesClientsWithoutACertificate(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, dir, 1)
	cfg.TLS.ClientCAFile = filepath.Join(dir, "ca.pem")
	writePEM(t, cfg.TLS.ClientCAFile, "CERTIFICATE", ca.cert.Raw)
	r := start(t, cfg, Deps{}, nil)
	pair := func(a *authority) tls.Certificate {
		cert, err := tls.LoadX509KeyPair(a.issue(t, t.TempDir(), 2))
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	get := func(certs ...tls.Certificate) error {
		res, err := ca.client(certs...).Get(r.url + "/healthz")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := get(pair(ca)); err != nil {
		t.Errorf("a known client: %v", err)
	}
	if err := get(); err == nil {
		t.Error("a client without certificate got in")
	}
	if err := get(pair(stranger)); err == nil {
		t.Error("a client of another authority got in")
	}
	if strings.Contains(r.logs.String(), "TLS handshake error") {
		t.Error("refused handshakes fill the log")
	}
	os.WriteFile(cfg.TLS.ClientCAFile, []byte("nonsense"), 0o600)
	if _, err := New(cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "tls.client_ca_file:") {
		t.Errorf("error %v", err)
	}
}
