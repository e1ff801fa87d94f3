package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

func TestTLSWithItsAuthorityOnEveryHTTP(t *testing.T) {
	t.Parallel()
	var proto atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		io.WriteString(w, "fine")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for scheme, want := range map[string]string{"https": "HTTP/1.1", "h2": "HTTP/2.0"} {
		p := open(strings.Replace(server.URL, "https:", scheme+":", 1), 100, time.Second)
		p.TLS.CA = ca
		p.Scenarios = []Scenario{{Steps: []Step{{Method: "POST", Body: "x", Checks: []string{"body == fine"}}}}}
		r := mustRun(t, p)
		if r.Total.OK != 100 || proto.Load() != want || r.Total.Connects != 8 {
			t.Errorf("%s: good %d of 100 by %v over %d connections, failed %v %v", scheme, r.Total.OK, proto.Load(), r.Total.Connects, r.Total.Failed, r.Errors)
		}
	}
}

func TestTLSTimeoutsAndTruncationsAreCounted(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does the server watch for the end of the connection
		if r.URL.Path == "/silent" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}))
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	for path, want := range map[string]Class{"/silent": ClassTimeout, "/half": ClassClosed} {
		p := open(server.URL+path, 30, 500*time.Millisecond)
		p.TLS.Insecure = true
		p.Timeout = Duration(300 * time.Millisecond)
		p.Scenarios = []Scenario{{Steps: []Step{{Method: "POST", Body: "x"}}}}
		if r := mustRun(t, p); r.Total.Failed[want] != 15 {
			t.Errorf("%s: failed %v %v, want 15 as %s", path, r.Total.Failed, r.Errors, want)
		}
	}
}

func TestHTTP2CarriesManyRequestsOnOneConnection(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
		}
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	p := open(strings.Replace(server.URL, "http:", "h2c:", 1), 200, time.Second)
	p.Connections, p.Streams = 1, 40
	r := mustRun(t, p)
	if r.Total.OK != 200 || r.Total.Connects != 1 || most.Load() < 10 || most.Load() > 40 {
		t.Errorf("good %d of 200, %d connections, %d at a time, failed %v %v", r.Total.OK, r.Total.Connects, most.Load(), r.Total.Failed, r.Errors)
	}
	p.Timeout = Duration(30 * time.Millisecond)
	p.Drain = p.Timeout
	if r := mustRun(t, p); r.Total.Failed[ClassTimeout] < 190 {
		t.Errorf("failed %v %v, want nearly all as timeout", r.Total.Failed, r.Errors)
	}
}

func TestHTTP2TargetThatDiesIsCountedAndComesBack(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve := func(l net.Listener) *http.Server {
		s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Protocols: new(http.Protocols)}
		s.Protocols.SetUnencryptedHTTP2(true)
		go s.Serve(l)
		return s
	}
	first := serve(listener)
	back := make(chan *http.Server, 1)
	time.AfterFunc(500*time.Millisecond, func() {
		first.Close()
		time.Sleep(300 * time.Millisecond) // how long it is away
		l, err := net.Listen("tcp", listener.Addr().String())
		if err != nil {
			t.Error(err)
			back <- nil
			return
		}
		back <- serve(l)
	})
	r := mustRun(t, open("h2c://"+listener.Addr().String(), 100, 1500*time.Millisecond))
	if s := <-back; s != nil {
		s.Close()
	}
	last := r.Intervals[1]
	if r.Total.Failed[ClassRefused] < 10 || r.Total.OK < 60 || last.OK < 30 {
		t.Errorf("good %d (in the end %d), failed %v %v", r.Total.OK, last.OK, r.Total.Failed, r.Errors)
	}
}

// echo is the health service with a stream of so many messages, and a mood.
type echo struct {
	healthpb.UnimplementedHealthServer
}

func (echo) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	switch r.Service {
	case "missing":
		return nil, status.Error(codes.NotFound, "no such thing")
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "header":
		if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("x-tenant")) == 0 || md.Get("x-tenant")[0] != "a" {
			return nil, status.Error(codes.PermissionDenied, "no tenant")
		}
		grpc.SetHeader(ctx, metadata.Pairs("x-answer", "yes"))
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func (echo) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	for range 3 {
		if err := stream.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}); err != nil {
			return err
		}
	}
	if r.Service == "endless" {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return nil
}

func grpcServer(t *testing.T) (target string, server *grpc.Server) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer()
	healthpb.RegisterHealthServer(server, echo{})
	reflection.Register(server)
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return "grpc://" + listener.Addr().String(), server
}

func TestGRPCCallsStreamsAndStatuses(t *testing.T) {
	t.Parallel()
	target, _ := grpcServer(t)
	const check, watch = "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"
	for name, test := range map[string]struct {
		step     Step
		good     uint64
		class    Class
		status   string
		messages uint64
	}{
		"unary":              {Step{Method: check, Body: `{"service":""}`, Checks: []string{"json $.status == \"SERVING\""}}, 50, "", "OK", 0},
		"unary, no body":     {Step{Method: check}, 50, "", "OK", 0},
		"metadata":           {Step{Method: check, Body: `{"service":"header"}`, Headers: map[string]string{"x-tenant": "a"}, Checks: []string{"header x-answer == yes"}}, 50, "", "OK", 0},
		"status":             {Step{Method: check, Body: `{"service":"missing"}`}, 0, ClassStatus, "NOT_FOUND", 0},
		"status as wanted":   {Step{Method: check, Body: `{"service":"missing"}`, Checks: []string{"status == NOT_FOUND"}}, 50, "", "NOT_FOUND", 0},
		"unique":             {Step{Method: check, Body: `{"service":"{{unique}}"}`}, 50, "", "OK", 0},
		"check":              {Step{Method: check, Checks: []string{"json $.status == \"UNKNOWN\""}}, 0, ClassCheck, "OK", 0},
		"stream":             {Step{Method: watch, Checks: []string{"json $.status == \"SERVING\""}}, 50, "", "OK", 150},
		"stream, cut":        {Step{Method: watch, Body: `{"service":"endless"}`, Expect: 2}, 50, "", "OK", 100},
		"deadline":           {Step{Method: check, Body: `{"service":"slow"}`}, 0, ClassTimeout, "", 0},
		"deadline on stream": {Step{Method: watch, Body: `{"service":"endless"}`}, 0, ClassTimeout, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(target, 100, 500*time.Millisecond)
			p.Connections, p.Streams = 2, 30
			p.Scenarios = []Scenario{{Steps: []Step{test.step}}}
			if test.class == ClassTimeout {
				p.Timeout = Duration(200 * time.Millisecond)
			}
			r := mustRun(t, p)
			if r.Total.OK != test.good || test.class != "" && r.Total.Failed[test.class] != 50 {
				t.Errorf("good %d of %d, failed %v %v", r.Total.OK, r.Total.Due, r.Total.Failed, r.Errors)
			}
			if test.status != "" && r.Total.Status[test.status] != 50 || test.messages > 0 && r.Total.Messages != test.messages {
				t.Errorf("statuses %v, %d messages", r.Total.Status, r.Total.Messages)
			}
			if r.Total.Connects != 2 {
				t.Errorf("%d connections, want 2", r.Total.Connects)
			}
		})
	}
}

func TestGRPCPlansThatCannotBeAreRefusedBeforehand(t *testing.T) {
	t.Parallel()
	target, _ := grpcServer(t)
	for want, step := range map[string]Step{
		"Chekc":              {Method: "grpc.health.v1.Health/Chekc"},
		"Helth":              {Method: "grpc.health.v1.Helth/Check"},
		"servise":            {Method: "grpc.health.v1.Health/Check", Body: `{"servise":"x"}`},
		"stream of requests": {Method: "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
	} {
		p := open(target, 10, time.Second)
		p.Scenarios = []Scenario{{Steps: []Step{step}}}
		if _, err := Run(t.Context(), p, Options{}); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %q", err, want)
		}
	}
}

func TestGRPCTargetThatDiesIsCounted(t *testing.T) {
	t.Parallel()
	target, server := grpcServer(t)
	time.AfterFunc(400*time.Millisecond, server.Stop)
	p := open(target, 200, time.Second)
	p.Scenarios = []Scenario{{Steps: []Step{{Method: "grpc.health.v1.Health/Check"}}}}
	r := mustRun(t, p)
	if r.Total.OK < 40 || r.Total.Failed[ClassRefused]+r.Total.Failed[ClassClosed]+r.Total.Failed[ClassReset] < 60 || r.Total.Failed[ClassStatus] > 5 {
		t.Errorf("good %d, failed %v %v", r.Total.OK, r.Total.Failed, r.Errors)
	}
}

// wsServer echoes each message so often.
func wsServer(t *testing.T, serve func(conn net.Conn)) string {
	t.Helper()
	target := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		both := struct {
			io.Reader
			io.Writer
		}{r, conn}
		if _, err := ws.Upgrade(both); err != nil {
			return
		}
		serve(conn)
	})
	return strings.Replace(target, "http:", "ws:", 1)
}

func TestWebSocketSendsExpectsAndCounts(t *testing.T) {
	t.Parallel()
	target := wsServer(t, func(conn net.Conn) {
		for {
			message, op, err := wsutil.ReadClientData(conn)
			if err != nil {
				return
			}
			ws.WriteFrame(conn, ws.NewPingFrame([]byte("are you there")))
			for range 3 {
				if err := wsutil.WriteServerMessage(conn, op, append([]byte("re: "), message...)); err != nil {
					return
				}
			}
		}
	})
	for name, test := range map[string]struct {
		step     Step
		messages uint64
	}{
		"all of them": {Step{Body: "hello {{seq}}", Expect: 3, Checks: []string{"body == re: hello {{seq}}"}}, 150},
		"binary":      {Step{Body: "hello", Binary: true, Expect: 3}, 150},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(target, 100, 500*time.Millisecond)
			p.Scenarios = []Scenario{{Steps: []Step{test.step}}}
			r := mustRun(t, p)
			if r.Total.OK != 50 || r.Total.Messages != test.messages || r.Total.Connects != 8 {
				t.Errorf("good %d of %d, %d messages, %d connections, failed %v %v", r.Total.OK, r.Total.Due, r.Total.Messages, r.Total.Connects, r.Total.Failed, r.Errors)
			}
		})
	}
	t.Run("messages nobody waits for are counted and never taken for an answer", func(t *testing.T) {
		p := open(target, 20, time.Second)
		p.Connections = 1
		p.Scenarios = []Scenario{{Steps: []Step{{Body: "a{{seq}}", Expect: 0}}}}
		r := mustRun(t, p)
		if r.Total.OK != 20 || r.Total.Messages < 50 {
			t.Errorf("good %d, %d messages counted of 60 pushed", r.Total.OK, r.Total.Messages)
		}
	})
}

func TestWebSocketMishapsAreCountedInTheirClass(t *testing.T) {
	t.Parallel()
	read := func(conn net.Conn) bool { _, _, err := wsutil.ReadClientData(conn); return err == nil }
	for name, test := range map[string]struct {
		serve func(net.Conn)
		want  Class
	}{
		"silence": {func(conn net.Conn) { io.Copy(io.Discard, conn) }, ClassTimeout},
		"close frame": {func(conn net.Conn) {
			read(conn)
			ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(1013, "later")))
		}, ClassClosed},
		"just closed":  {func(conn net.Conn) { read(conn) }, ClassClosed},
		"masked frame": {func(conn net.Conn) { read(conn); wsutil.WriteClientText(conn, []byte("x")); io.Copy(io.Discard, conn) }, ClassProtocol},
		"bad opcode":   {func(conn net.Conn) { read(conn); conn.Write([]byte{0x83, 0x00}); io.Copy(io.Discard, conn) }, ClassProtocol},
		"endless": {func(conn net.Conn) {
			read(conn)
			conn.Write([]byte{0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0})
			io.Copy(io.Discard, conn)
		}, ClassProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(wsServer(t, test.serve), 40, 500*time.Millisecond)
			p.Timeout = Duration(400 * time.Millisecond)
			p.Scenarios = []Scenario{{Steps: []Step{{Body: "x", Expect: 1}}}}
			if r := mustRun(t, p); r.Total.Failed[test.want] < 18 {
				t.Errorf("due %d, failed %v %v; want nearly all 20 as %s", r.Total.Due, r.Total.Failed, r.Errors, test.want)
			}
		})
	}
}

func TestMissingClientCertificateIsSaid(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	p := open(server.URL, 10, time.Second)
	p.TLS.Insecure = true
	if _, err := Run(t.Context(), p, Options{}); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "TLS handshake") {
		t.Errorf("have %v", err)
	}
}
