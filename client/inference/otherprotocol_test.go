package inferenceclient_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	inferenceclient "github.com/dougong-io/dougong/client/inference"
)

// ports are one of each kind: REST and gRPC, with TLS and without, by their URLs less the scheme.
func ports(t *testing.T) map[string]string {
	f := &fake{script: always(good)}
	all := map[string]string{}
	web := func(name string, h2, secure bool) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 {
				http.NotFound(w, r)
				return
			}
			f.ServeHTTP(w, r)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
		s.EnableHTTP2 = h2
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		all[name] = s.Listener.Addr().String()
		return s
	}
	web("http", false, false)
	web("https", false, true)
	certificates := web("https with HTTP/2", true, true).TLS.Certificates
	for name, options := range map[string][]grpc.ServerOption{"grpc": nil, "grpcs": {grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: certificates}))}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(options...)
		inferencepb.RegisterGRPCInferenceServiceServer(server, f)
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }()
		t.Cleanup(func() {
			server.Stop()
			<-ended
		})
		all[name] = listener.Addr().String()
	}
	return all
}

const closes = "one with TLS to callers without it"

// TestPortOfAnotherProtocolIsNamed asks real servers. Which of two sides closes or speaks first is theirs.
func TestPortOfAnotherProtocolIsNamed(t *testing.T) {
	at := ports(t)
	for _, c := range []struct {
		scheme, port string
		want         string // the end of what is said, and there is one attempt; or else closes, after some
	}{
		{"http", "grpc", "use grpc:// or another port"},
		{"http", "grpcs", closes},
		{"https", "http", "use http:// (grpc:// if it is a port of gRPC)"},
		{"https", "grpc", "use grpc:// or another port"},
		{"https", "grpcs", closes},
		{"grpc", "http", "use http:// or another port"},
		{"grpc", "https", closes},
		{"grpc", "grpcs", closes},
		{"grpcs", "http", "use http:// (grpc:// if it is a port of gRPC)"},
		{"grpcs", "grpc", "use http:// (grpc:// if it is a port of gRPC)"},
		{"grpcs", "https", "use https:// or another port"},
		{"grpcs", "https with HTTP/2", "use https:// or another port"},
	} {
		cfg := inferenceclient.DefaultConfig()
		cfg.URLs = []string{c.scheme + "://" + at[c.port]}
		client := connect(t, cfg, inferenceclient.WithTLS(&tls.Config{InsecureSkipVerify: true}))
		_, err := client.Infer(t.Context(), ask())
		failed, ok := errors.AsType[*inferenceclient.Error](err)
		closed := ok && strings.HasSuffix(err.Error(), closes)
		if !ok || !closed && (!strings.HasSuffix(err.Error(), c.want) || failed.Attempts != 1) || closed && failed.Attempts != cfg.Attempts || errors.Unwrap(failed.Unwrap()) == nil {
			t.Errorf("%s:// at the port of %s: %v", c.scheme, c.port, err)
		}
	}
}

// speaker answers each connection with the same bytes, once it has read something of it, or at once. The end of the test ends it.
func speaker(t *testing.T, answer string, first bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				if !first {
					_, _ = conn.Read(make([]byte, 1<<16))
				}
				_, _ = io.WriteString(conn, answer)
				_ = conn.(*net.TCPConn).CloseWrite() // what was sent arrives, whatever is not read
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		conns.Wait()
	})
	return listener.Addr().String()
}

func TestWhatSpeaksAnotherProtocolIsAskedOnce(t *testing.T) {
	const settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00@\x00"
	const alert = "\x15\x03\x01\x00\x02\x02\x46"
	for _, c := range []struct {
		scheme, answer string
		first          bool
		want           string
	}{
		{"http", settings, false, "use grpc:// or another port"},
		{"http", settings, true, "use grpc:// or another port"},
		{"http", alert, false, "use https:// (grpcs:// if it is a port of gRPC)"},
		{"https", settings, false, "use grpc:// or another port"},
		{"https", "HTTP/1.1 400 Bad Request\r\n\r\n", false, "use http:// (grpc:// if it is a port of gRPC)"},
		{"https", "220 mail.test ESMTP\r\n", true, "use http:// (grpc:// if it is a port of gRPC)"},
		{"https", "\x15\x03\x03\x00\x02\x02\x78", false, "use grpcs:// or another port"}, // no application protocol
		{"grpc", "HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n", false, "use http:// or another port"},
		{"grpc", alert + "more of it", false, "use grpcs:// if it speaks TLS, or another port"},
		{"grpcs", settings, true, "use http:// (grpc:// if it is a port of gRPC)"},
		{"grpcs", "\x15\x03\x03\x00\x02\x02\x78", false, "use https:// or another port"},
	} {
		cfg := inferenceclient.DefaultConfig()
		cfg.URLs = []string{c.scheme + "://" + speaker(t, c.answer, c.first)}
		_, err := connect(t, cfg).Infer(t.Context(), ask())
		failed, ok := errors.AsType[*inferenceclient.Error](err)
		if !ok || !strings.HasSuffix(err.Error(), c.want) || failed.Attempts != 1 || !errors.Is(err, inferenceclient.ErrUnavailable) {
			t.Errorf("%s:// and %q: %v", c.scheme, c.answer, err)
		}
	}
}

// TestConnectionThatBreaksIsTriedAgain: garbage and half answers may come from a proxy that is about to restart.
func TestConnectionThatBreaksIsTriedAgain(t *testing.T) {
	for scheme, answers := range map[string][]string{"http": {"", "garbage\r\n\r\n", "\x00\x00", "HTTP/1.1 2", "\x15"}, "grpc": {"", "\x00\x00", "\x15"}} {
		for _, answer := range answers {
			cfg := inferenceclient.DefaultConfig()
			cfg.URLs, cfg.Backoff = []string{scheme + "://" + speaker(t, answer, false)}, time.Millisecond
			_, err := connect(t, cfg).Infer(t.Context(), ask())
			failed, ok := errors.AsType[*inferenceclient.Error](err)
			if !ok || failed.Attempts != cfg.Attempts || strings.Contains(err.Error(), "another port") || strings.HasSuffix(err.Error(), closes) != (answer == "") {
				t.Errorf("%s:// and %q: %v", scheme, answer, err)
			}
		}
	}
}

// TestServerThatHasAnsweredSpeaksItsProtocol: when it goes away in the middle of a call, nothing is said of its port.
func TestServerThatHasAnsweredSpeaksItsProtocol(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if calls.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	cfg := inferenceclient.DefaultConfig()
	cfg.URLs, cfg.Backoff = []string{server.URL}, time.Millisecond
	client := connect(t, cfg)
	if live, err := client.ServerLive(t.Context()); !live || err != nil {
		t.Fatal(live, err)
	}
	if _, err := client.Infer(t.Context(), ask()); err == nil || strings.Contains(err.Error(), "port") {
		t.Error(err)
	}
}
