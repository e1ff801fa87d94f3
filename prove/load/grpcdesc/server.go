package grpcdesc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	maxFiles = 2000
	maxBytes = 32 << 20 // of all answers together
	patience = 10 * time.Second
)

// FromServer asks the server's reflection service for a method and for the files that it needs, no others. It speaks
// grpc.reflection.v1, and v1alpha with servers that know only that. It takes no longer than ctx's deadline, or ten
// seconds when there is none. method is as in FromFile.
func FromServer(ctx context.Context, conn grpc.ClientConnInterface, method string) (*Method, error) {
	service, _, err := splitName(method)
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	const source = "server reflection"
	// The messages of v1alpha have the same fields with the same numbers as those of v1.
	for _, version := range []string{"v1", "v1alpha"} {
		c := client{conn: conn, path: "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"}
		var files []*descriptorpb.FileDescriptorProto
		files, err = c.filesFor(ctx, service)
		if status.Code(err) == codes.Unimplemented {
			continue
		}
		if errors.Is(err, errNotFound) {
			services, listErr := c.services(ctx)
			if listErr != nil {
				return nil, fmt.Errorf("%s: no service %s; the list of those there are: %w", source, service, listErr)
			}
			return nil, unknownService(service, services, source)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: service %s: %w", source, service, err)
		}
		return resolve(files, method, source, "register it at the server, or give a descriptor set (protoc --descriptor_set_out --include_imports)")
	}
	return nil, fmt.Errorf("%s: the server does not offer it; register it there, or give a descriptor set (protoc --descriptor_set_out --include_imports): %w", source, err)
}

// errNotFound is the reflection service's answer to a name that it does not know.
var errNotFound = errors.New("not found")

// client speaks to a reflection service of one version.
type client struct {
	conn grpc.ClientConnInterface
	path string
}

// conversation is one stream of questions, each with one answer.
type conversation struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
	bytes  int
}

func (c client) open(ctx context.Context) (*conversation, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, c.path,
		grpc.MaxCallRecvMsgSize(maxBytes),
		// The connection's default may be the codec of this package, which takes bytes alone.
		grpc.ForceCodecV2(encoding.GetCodecV2("proto")))
	if err != nil {
		cancel()
		return nil, err
	}
	return &conversation{stream: stream, cancel: cancel}, nil
}

func (c *conversation) ask(question *reflection.ServerReflectionRequest) (*reflection.ServerReflectionResponse, error) {
	// What Send fails with is only io.EOF; Recv has the reason.
	_ = c.stream.SendMsg(question)
	var answer reflection.ServerReflectionResponse
	if err := c.stream.RecvMsg(&answer); err != nil {
		return nil, err
	}
	if c.bytes += proto.Size(&answer); c.bytes > maxBytes {
		return nil, fmt.Errorf("more than %d MiB of descriptors; give a descriptor set with what the method needs", maxBytes>>20)
	}
	if e := answer.GetErrorResponse(); e != nil {
		if code := codes.Code(e.GetErrorCode()); code != codes.NotFound {
			return nil, fmt.Errorf("refused with %s: %q", code, e.GetErrorMessage())
		}
		return nil, errNotFound
	}
	return &answer, nil
}

// filesFor returns the file that declares symbol and those it imports, directly or not, as far as the server has
// them.
func (c client) filesFor(ctx context.Context, symbol protoreflect.FullName) ([]*descriptorpb.FileDescriptorProto, error) {
	talk, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer talk.cancel()

	var files []*descriptorpb.FileDescriptorProto
	has := map[string]bool{}
	take := func(question *reflection.ServerReflectionRequest) error {
		answer, err := talk.ask(question)
		if err != nil {
			return err
		}
		described := answer.GetFileDescriptorResponse()
		if described == nil {
			return fmt.Errorf("answered a question for a file with %T", answer.GetMessageResponse())
		}
		for _, data := range described.GetFileDescriptorProto() {
			f := new(descriptorpb.FileDescriptorProto)
			if err := proto.Unmarshal(data, f); err != nil {
				return fmt.Errorf("file descriptor: %w", tidied{err})
			}
			// A server may send along what the file imports, more than once.
			if !has[f.GetName()] {
				has[f.GetName()] = true
				files = append(files, f)
			}
		}
		if len(files) > maxFiles {
			return fmt.Errorf("more than %d files; give a descriptor set with what the method needs", maxFiles)
		}
		return nil
	}

	if err := take(bySymbol(symbol)); err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for i := 0; i < len(files); i++ { // files grows
		for _, name := range files[i].GetDependency() {
			if has[name] || asked[name] {
				continue
			}
			if asked[name] = true; len(asked) > maxFiles {
				return nil, fmt.Errorf("more than %d imports; give a descriptor set with what the method needs", maxFiles)
			}
			// A file that the server does not have matters only if the method needs it: see resolve.
			if err := take(byFile(name)); err != nil && !errors.Is(err, errNotFound) {
				return nil, fmt.Errorf("file %s: %w", name, err)
			}
		}
	}
	return files, nil
}

// services lists the services that the server tells of, sorted.
func (c client) services(ctx context.Context) ([]string, error) {
	talk, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer talk.cancel()
	answer, err := talk.ask(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	slices.Sort(names)
	return names, nil
}

func bySymbol(name protoreflect.FullName) *reflection.ServerReflectionRequest {
	return &reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: string(name)}}
}

func byFile(name string) *reflection.ServerReflectionRequest {
	return &reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_FileByFilename{FileByFilename: name}}
}
