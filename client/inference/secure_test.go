package inferenceclient_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	inferenceclient "github.com/dougong-io/dougong/client/inference"
)

func TestTLSProvesTheServer(t *testing.T) {
	f := &fake{script: always(good)}
	rest := httptest.NewUnstartedServer(f)
	rest.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	rest.StartTLS()
	defer rest.Close()
	listener := httptest.NewUnstartedServer(nil).Listener
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: rest.TLS.Certificates})))
	inferencepb.RegisterGRPCInferenceServiceServer(server, f)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() { <-ended }()
	defer server.Stop()

	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	for file, data := range map[string][]byte{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rest.Certificate().Raw}), token: []byte("from the file\n")} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, url := range []string{rest.URL, "grpcs://" + listener.Addr().String()} {
		cfg := inferenceclient.DefaultConfig()
		cfg.URLs, cfg.TokenFile = []string{url}, token
		_, err := connect(t, cfg).Infer(t.Context(), ask())
		if !errors.Is(err, inferenceclient.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s without its authority: %v", url, err)
		}
		if failed := err.(*inferenceclient.Error); failed.Attempts != 1 {
			t.Errorf("%s: a certificate that is wrong was tried %d times", url, failed.Attempts)
		}
		cfg.TLS.CAFile = ca
		if _, err = connect(t, cfg).Infer(t.Context(), ask()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		cfg.TLS.ServerName = "elsewhere.test"
		if _, err = connect(t, cfg).Infer(t.Context(), ask()); !errors.Is(err, inferenceclient.ErrUnavailable) {
			t.Errorf("%s under another name: %v", url, err)
		}
	}
	if seen := f.requests(); len(seen) != 2 || seen[0].header("authorization") != "Bearer from the file" || seen[1].header("authorization") != "Bearer from the file" {
		t.Errorf("%d requests", len(seen))
	}
}

func TestFilesThatAreMissingAreReported(t *testing.T) {
	cfg := inferenceclient.DefaultConfig()
	cfg.URLs, cfg.TLS.CAFile = []string{"https://a"}, "/nowhere/ca.pem"
	if _, err := inferenceclient.New(cfg); err == nil || !strings.Contains(err.Error(), "tls.ca_file") {
		t.Error(err)
	}
	f, cfg := serve(t, "http", always(good))
	cfg.TokenFile = "/nowhere/token"
	if _, err := connect(t, cfg).Infer(t.Context(), ask()); !errors.Is(err, inferenceclient.ErrDenied) || !errors.Is(err, os.ErrNotExist) || len(f.requests()) != 0 {
		t.Error(err)
	}
}

// TestRedirectsAreNotFollowed: they could carry a token to whoever a server names.
func TestRedirectsAreNotFollowed(t *testing.T) {
	other, _ := serve(t, "http", always(good))
	server := httptest.NewServer(http.RedirectHandler(other.url, http.StatusTemporaryRedirect))
	defer server.Close()
	cfg := inferenceclient.DefaultConfig()
	cfg.URLs = []string{server.URL}
	_, err := connect(t, cfg).Infer(t.Context(), ask())
	if failed, ok := errors.AsType[*inferenceclient.Error](err); !ok || failed.Kind != inferenceclient.ErrProtocol || failed.Status != 307 || len(other.requests()) != 0 {
		t.Error(err)
	}
}

// TestURLsMayHaveAPath: an ingress may serve many under one host. Names are escaped.
func TestURLsMayHaveAPath(t *testing.T) {
	paths := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { paths <- r.RequestURI }))
	defer server.Close()
	cfg := inferenceclient.DefaultConfig()
	for _, prefix := range []string{"", "/", "/a", "/some%2Fwhere/", "/a%20b"} {
		cfg.URLs = []string{server.URL + prefix}
		_, _ = connect(t, cfg).ModelReady(t.Context(), "a/b?c", "v 1")
		if got, want := <-paths, strings.TrimSuffix(prefix, "/")+"/v2/models/a%2Fb%3Fc/versions/v%201/ready"; got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
