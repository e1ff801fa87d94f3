package grpcserver

import (
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigReportsEveryFaultAtOnce(t *testing.T) {
	err := Config{
		Listen: "nowhere", MaxConnections: -1, MaxPerClient: -1, MinRate: -1, MaxStreams: -1, DeadlineMargin: -1,
		MaxConnIdle: -1, MaxConnAge: -1, MaxConnAgeGrace: -1, TLS: httpserver.TLSConfig{CertFile: "x", MinVersion: "1.1"},
	}.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, field := range []string{
		"listen", "handshake_timeout", "max_header_bytes", "max_message_bytes", "max_connections", "max_connections_per_client", "min_rate",
		"max_streams", "read_timeout", "write_timeout", "request_timeout", "deadline_margin", "drain_timeout", "min_ping_interval", "ping_after", "ping_timeout",
		"max_connection_idle", "max_connection_age", "max_connection_age_grace", "tls.cert_file", "tls.min_version",
	} {
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, field+": ")
		}
		if !found {
			t.Errorf("%s is not reported in\n%v", field, err)
		}
	}
	cfg := DefaultConfig()
	cfg.DeadlineMargin = cfg.RequestTimeout
	if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "deadline_margin: ") {
		t.Error(err)
	}
}

func TestNewRefusesFilesThatItCannotRead(t *testing.T) {
	cfg := DefaultConfig()
	cfg.TokensFile = "/nowhere/tokens.json"
	if _, err := New(cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "tokens_file: ") {
		t.Error(err)
	}
	cfg = DefaultConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = "/nowhere/cert.pem", "/nowhere/key.pem"
	if _, err := New(cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "tls.cert_file: ") {
		t.Error(err)
	}
}

func TestRegisterRefusesWhatIsWrongWithAService(t *testing.T) {
	whole := inference(isReady)
	s, err := New(DefaultConfig(), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(svc Service, why string) {
		t.Helper()
		defer func() {
			if got, _ := recover().(string); !strings.Contains(got, why) {
				t.Errorf("panicked with %q, want %q", got, why)
			}
		}()
		s.Register(svc)
	}
	refused(Service{Desc: whole.Desc, Impl: "nothing"}, "a string is no inferencepb.GRPCInferenceServiceServer")
	refused(Service{Desc: whole.Desc, Impl: whole.Impl, Method: func(string) Method { return Method{Role: "king"} }}, `unknown role "king"`)
	s.Register(Service{Desc: whole.Desc, Impl: whole.Impl, Method: func(string) Method { return Method{Role: auth.Fault} }})
	refused(whole, "registered already")
	if m := s.methods[readyMethod]; !m.Audit || m.service != "dougong" || m.timeout != s.cfg.RequestTimeout {
		t.Errorf("method %+v", m)
	}
}

// TestRulesThatDoNotCompileAreFoundAtOnce makes a service whose rule speaks of a field that there is not.
func TestRulesThatDoNotCompileAreFoundAtOnce(t *testing.T) {
	rule := &validate.MessageRules{}
	rule.SetCel([]*validate.Rule{validate.Rule_builder{Id: proto.String("x"), Expression: proto.String("this.nothing == 1")}.Build()})
	options := &descriptorpb.MessageOptions{}
	proto.SetExtension(options, validate.E_Message, rule)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("broken.proto"), Syntax: proto.String("proto3"), Package: proto.String("broken"), Dependency: []string{"buf/validate/validate.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Question"), Options: options}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRules()
	if err != nil {
		t.Fatal(err)
	}
	broken := dynamicpb.NewMessage(file.Messages().Get(0))
	if err := r.compileMessage(broken); err == nil || !strings.Contains(err.Error(), "broken.Question") {
		t.Error(err)
	}
	if st, ok := status.FromError(r.check(broken)); ok {
		t.Errorf("a caller is told %v of it", st)
	}
}
