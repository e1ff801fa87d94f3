package inferencepb

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestGeneratedCodeIsThatOfItsSource compiles the sources and compares.
func TestGeneratedCodeIsThatOfItsSource(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		&protocompile.SourceResolver{ImportPaths: []string{".."}},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			f, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: f}, err
		}),
	}}
	for _, generated := range []protoreflect.FileDescriptor{File_inference_open_inference_proto, File_inference_triton_extensions_proto} {
		compiled, err := compiler.Compile(t.Context(), generated.Path())
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(plain(t, compiled[0]), plain(t, generated)) {
			t.Errorf("%s was changed since its Go code was made: go generate ./api/...", generated.Path())
		}
	}
}

// TestServiceIsThatOfItsSource: what the generator of services made says nothing of its source, so each method is called
// through it, from the client to the server's side, and is held against the compiled service. `protogen -check` compares
// the text itself.
func TestServiceIsThatOfItsSource(t *testing.T) {
	service := File_inference_open_inference_proto.Services().ByName("GRPCInferenceService")
	desc := &GRPCInferenceService_ServiceDesc
	if desc.ServiceName != string(service.FullName()) || desc.Metadata != File_inference_open_inference_proto.Path() {
		t.Errorf("service %s of %v", desc.ServiceName, desc.Metadata)
	}
	if len(desc.Methods) != service.Methods().Len() || len(desc.Streams) != 0 {
		t.Fatalf("%d methods and %d streams; the source has %d methods", len(desc.Methods), len(desc.Streams), service.Methods().Len())
	}
	for i := range desc.Methods {
		method := service.Methods().Get(i)
		if method.IsStreamingClient() || method.IsStreamingServer() || desc.Methods[i].MethodName != string(method.Name()) {
			t.Errorf("method %d is %s, in the source %s", i, desc.Methods[i].MethodName, method.FullName())
			continue
		}
		wire := &loopback{method: &desc.Methods[i]}
		call := reflect.ValueOf(NewGRPCInferenceServiceClient(wire)).MethodByName(string(method.Name()))
		in := reflect.New(call.Type().In(1).Elem())
		if err, _ := call.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})[1].Interface().(error); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "method "+string(method.Name())+" ") {
			t.Errorf("%s: %v", method.FullName(), err) // the server's method is another
		}
		want := []string{"/" + string(service.FullName()) + "/" + string(method.Name()), string(method.Input().FullName()), string(method.Output().FullName()), string(method.Input().FullName())}
		if !slices.Equal(wire.said, want) {
			t.Errorf("%s: said %q, want %q", method.FullName(), wire.said, want)
		}
	}
}

// loopback is a client's connection that hands calls to a method of a server that implements none.
type loopback struct {
	grpc.ClientConnInterface
	method *grpc.MethodDesc
	said   []string // path, and the kinds of what the client sends and expects, and of what the server reads
}

func (l *loopback) Invoke(ctx context.Context, path string, in, out any, _ ...grpc.CallOption) error {
	l.said = append(l.said, path, kindOf(in), kindOf(out))
	_, err := l.method.Handler(&UnimplementedGRPCInferenceServiceServer{}, ctx, func(message any) error {
		l.said = append(l.said, kindOf(message))
		return nil
	}, nil)
	return err
}

func kindOf(message any) string {
	return string(message.(proto.Message).ProtoReflect().Descriptor().FullName())
}

// plain has the options of a file in the form that is read from the wire, whoever made it.
func plain(t *testing.T, f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	t.Helper()
	data, err := proto.Marshal(protodesc.ToFileDescriptorProto(f))
	if err != nil {
		t.Fatal(err)
	}
	var p descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return &p
}
