package grpcdesc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// serve starts a server on loopback with what register puts in, and connects to it.
func serve(t testing.TB, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		// As the load generator does: reflection has to work beside it.
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func withHealth(server *grpc.Server) {
	h := health.NewServer()
	h.SetServingStatus("loans", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(server, h)
}

func TestMethodFromReflectionCallsTheServer(t *testing.T) {
	for version, register := range map[string]func(*grpc.Server){
		"both": func(s *grpc.Server) { withHealth(s); reflection.Register(s) },
		"v1":   func(s *grpc.Server) { withHealth(s); reflection.RegisterV1(s) },
		"v1alpha": func(s *grpc.Server) {
			withHealth(s)
			reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(reflection.ServerOptions{Services: s}))
		},
	} {
		t.Run(version, func(t *testing.T) {
			conn := serve(t, register)
			for _, name := range []string{"grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Check", "grpc.health.v1.Health.Check"} {
				m, err := FromServer(t.Context(), conn, name)
				if err != nil {
					t.Fatal(err)
				}
				if m.FullName() != "/grpc.health.v1.Health/Check" || m.ServerStream() || m.ClientStream() {
					t.Errorf("%s is %s, server stream %v, client stream %v", name, m.FullName(), m.ServerStream(), m.ClientStream())
				}
				in, err := m.Encode([]byte(`{"service": "loans"}`), nil)
				if err != nil {
					t.Fatal(err)
				}
				var out []byte
				if err := conn.Invoke(t.Context(), m.FullName(), in, &out); err != nil {
					t.Fatal(err)
				}
				wantJSON(t, m, out, `{"status":"NOT_SERVING"}`)
			}
		})
	}
}

func TestServerStreamIsReceivedAsBytes(t *testing.T) {
	conn := serve(t, func(s *grpc.Server) { withHealth(s); reflection.Register(s) })
	m, err := FromServer(t.Context(), conn, "grpc.health.v1.Health/Watch")
	if err != nil {
		t.Fatal(err)
	}
	if !m.ServerStream() || m.ClientStream() {
		t.Errorf("server stream %v, client stream %v", m.ServerStream(), m.ClientStream())
	}
	in, err := m.Encode([]byte(`{"service": "loans"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, m.FullName())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(mem.BufferSlice{mem.SliceBuffer(in)}); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var out mem.BufferSlice
	if err := stream.RecvMsg(&out); err != nil {
		t.Fatal(err)
	}
	wantJSON(t, m, out.Materialize(), `{"status":"NOT_SERVING"}`)
	out.Free()
}

func TestServerWithoutReflectionIsSaid(t *testing.T) {
	conn := serve(t, withHealth)
	_, err := FromServer(t.Context(), conn, "grpc.health.v1.Health/Check")
	wantError(t, err, "does not offer it", "descriptor set", "--include_imports")
}

func TestUnknownNamesAtAServerAreAnsweredWithThoseThereAre(t *testing.T) {
	conn := serve(t, func(s *grpc.Server) { withHealth(s); reflection.Register(s) })
	_, err := FromServer(t.Context(), conn, "grpc.health.v2.Health/Check")
	wantError(t, err, "no service grpc.health.v2.Health", "grpc.health.v1.Health, grpc.reflection.v1")
	_, err = FromServer(t.Context(), conn, "grpc.health.v1.Health/Chek")
	wantError(t, err, "no method Chek", "it has Check, ", "Watch")
	_, err = FromServer(t.Context(), conn, "grpc.health.v1.HealthCheckRequest/Check")
	wantError(t, err, "no service")
	_, err = FromServer(t.Context(), conn, "Check")
	wantError(t, err, `"Check"`, "package.Service/Method")
}

func TestServerThatIsNotThereIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = FromServer(t.Context(), conn, "a.B/C")
	wantError(t, err, "a.B", "connection")
}

// scripted is a reflection service that answers each question with what it is told to.
type scripted struct {
	reflectionv1.UnimplementedServerReflectionServer
	answer func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse
}

func (s *scripted) ServerReflectionInfo(stream grpc.BidiStreamingServer[reflectionv1.ServerReflectionRequest, reflectionv1.ServerReflectionResponse]) error {
	for {
		question, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := s.answer(question)
		if answer == nil {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func serveScripted(t *testing.T, answer func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse) *grpc.ClientConn {
	return serve(t, func(s *grpc.Server) { reflectionv1.RegisterServerReflectionServer(s, &scripted{answer: answer}) })
}

func fileAnswer(files ...*descriptorpb.FileDescriptorProto) *reflectionv1.ServerReflectionResponse {
	var response reflectionv1.FileDescriptorResponse
	for _, f := range files {
		data, err := proto.Marshal(f)
		if err != nil {
			panic(err) // a test's own file
		}
		response.FileDescriptorProto = append(response.FileDescriptorProto, data)
	}
	return &reflectionv1.ServerReflectionResponse{MessageResponse: &reflectionv1.ServerReflectionResponse_FileDescriptorResponse{FileDescriptorResponse: &response}}
}

func TestServerThatSaysNothingIsLeftAtTheDeadline(t *testing.T) {
	conn := serveScripted(t, func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := FromServer(ctx, conn, "a.B/C")
	wantError(t, err, "DeadlineExceeded")
}

func TestServerWhoseImportsNeverEndIsLeft(t *testing.T) {
	asked := 0
	conn := serveScripted(t, func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		asked++
		name := strings.Repeat("x", asked)
		return fileAnswer(&descriptorpb.FileDescriptorProto{Name: &name, Dependency: []string{name + "x"}})
	})
	_, err := FromServer(t.Context(), conn, "a.B/C")
	wantError(t, err, "more than 2000", "descriptor set")
}

func TestServerThatSendsTooMuchIsLeft(t *testing.T) {
	blob := strings.Repeat("x", 1<<20)
	asked := 0
	conn := serveScripted(t, func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		asked++
		name := strings.Repeat("x", asked)
		return fileAnswer(&descriptorpb.FileDescriptorProto{Name: &name, Package: &blob, Dependency: []string{name + "x"}})
	})
	_, err := FromServer(t.Context(), conn, "a.B/C")
	wantError(t, err, "MiB of descriptors")
	if asked > 40 {
		t.Errorf("asked %d times for a MiB each", asked)
	}
}

// TestImportsOfOptionsAloneMayBeMissing: servers seldom register the files that only declare options.
func TestImportsOfOptionsAloneMayBeMissing(t *testing.T) {
	for need, missing := range map[bool]string{false: "gateway/options.proto", true: "bank/money.proto"} {
		conn := serveScripted(t, func(q *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
			if q.GetFileContainingSymbol() != "" {
				return fileAnswer(loans())
			}
			if q.GetFileByFilename() == "bank/money.proto" && !need {
				return fileAnswer(money())
			}
			return &reflectionv1.ServerReflectionResponse{MessageResponse: &reflectionv1.ServerReflectionResponse_ErrorResponse{
				ErrorResponse: &reflectionv1.ErrorResponse{ErrorCode: 5, ErrorMessage: "no such file"}}}
		})
		_, err := FromServer(t.Context(), conn, "bank.Loans/Judge")
		if need {
			wantError(t, err, "needs type bank.", missing)
		} else if err != nil {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestServerThatRefusesIsQuoted(t *testing.T) {
	conn := serveScripted(t, func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		return &reflectionv1.ServerReflectionResponse{MessageResponse: &reflectionv1.ServerReflectionResponse_ErrorResponse{
			ErrorResponse: &reflectionv1.ErrorResponse{ErrorCode: 7, ErrorMessage: "not for you"}}}
	})
	_, err := FromServer(t.Context(), conn, "a.B/C")
	wantError(t, err, "PermissionDenied", "not for you")
}

func TestServerThatAnswersSomethingElseIsAnError(t *testing.T) {
	conn := serveScripted(t, func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		return &reflectionv1.ServerReflectionResponse{}
	})
	_, err := FromServer(t.Context(), conn, "a.B/C")
	wantError(t, err, "a.B", "answered")
	conn = serveScripted(t, func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		return &reflectionv1.ServerReflectionResponse{MessageResponse: &reflectionv1.ServerReflectionResponse_FileDescriptorResponse{
			FileDescriptorResponse: &reflectionv1.FileDescriptorResponse{FileDescriptorProto: [][]byte{{0xff}}}}}
	})
	_, err = FromServer(t.Context(), conn, "a.B/C")
	wantError(t, err, "file descriptor")
}

func TestCodecRefusesMessages(t *testing.T) {
	conn := serve(t, withHealth)
	err := conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{})
	wantError(t, err, "cannot send a *grpc_health_v1.HealthCheckRequest")
	err = conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", []byte{}, &healthpb.HealthCheckResponse{})
	wantError(t, err, "cannot receive into a *grpc_health_v1.HealthCheckResponse")
}

func TestCodecPassesEachKindOfBytes(t *testing.T) {
	conn := serve(t, withHealth)
	wire := []byte("\x0a\x05loans")
	want := string(mustMarshal(t, &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}))
	for _, in := range []any{wire, mem.SliceBuffer(wire), mem.Copy(wire, mem.DefaultBufferPool()), mem.BufferSlice{mem.SliceBuffer(wire[:3]), mem.SliceBuffer(wire[3:])}} {
		reused := make([]byte, 7, 64)
		first := &reused[0]
		if err := conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", in, &reused); err != nil {
			t.Fatal(err)
		}
		if string(reused) != want || &reused[0] != first {
			t.Errorf("%T: received %x, in the same memory %v; want %x", in, reused, &reused[0] == first, want)
		}
	}
	var buffer mem.Buffer
	if err := conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", wire, &buffer); err != nil {
		t.Fatal(err)
	}
	if string(buffer.ReadOnlyData()) != want {
		t.Errorf("received %x, want %x", buffer.ReadOnlyData(), want)
	}
	buffer.Free()
}

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantJSON(t *testing.T, m *Method, wire []byte, want string) {
	t.Helper()
	got, err := m.DecodeJSON(wire)
	if err != nil {
		t.Fatal(err)
	}
	if compact(string(got)) != compact(want) {
		t.Errorf("%x is %s, want %s", wire, got, want)
	}
}

// compact leaves out spaces: protojson puts them in or not, at random per build.
func compact(json string) string { return strings.ReplaceAll(json, " ", "") }

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func healthFile() *descriptorpb.FileDescriptorProto {
	return protodesc.ToFileDescriptorProto(healthpb.File_grpc_health_v1_health_proto)
}
