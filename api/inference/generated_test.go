package inferencepb

import (
	"testing"

	"github.com/bufbuild/protocompile"
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
