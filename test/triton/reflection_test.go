package triton

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// TestReflectionIsEnoughToCall lists and calls as grpcurl does: it knows nothing of the service but what it is told.
func TestReflectionIsEnoughToCall(t *testing.T) {
	s := up(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		a, err := stream.Recv()
		if err != nil || a.GetErrorResponse() != nil {
			t.Fatalf("%v: %v %v", q, err, a.GetErrorResponse())
		}
		return a
	}

	var services []string
	for _, s := range ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
		services = append(services, s.Name)
	}
	for _, want := range []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "inference.GRPCInferenceService"} {
		if !slices.Contains(services, want) {
			t.Errorf("%s is not among %q", want, services)
		}
	}

	descriptors := map[string]*descriptorpb.FileDescriptorProto{}
	keep := func(a *grpc_reflection_v1.ServerReflectionResponse) {
		for _, data := range a.GetFileDescriptorResponse().GetFileDescriptorProto() {
			var f descriptorpb.FileDescriptorProto
			if err := proto.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			descriptors[f.GetName()] = &f
		}
	}
	for _, service := range services {
		keep(ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service}}))
	}
	for missing := true; missing; { // until each file has those that it imports
		missing = false
		for _, f := range descriptors {
			for _, name := range f.Dependency {
				if descriptors[name] == nil {
					keep(ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileByFilename{FileByFilename: name}}))
					if descriptors[name] == nil {
						t.Fatalf("reflection does not give %s", name)
					}
					missing = true
				}
			}
		}
	}
	var set descriptorpb.FileDescriptorSet
	for _, f := range descriptors {
		set.File = append(set.File, f)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}

	service := find[protoreflect.ServiceDescriptor](t, files, "inference.GRPCInferenceService")
	var methods []string
	for i := range service.Methods().Len() {
		methods = append(methods, string(service.Methods().Get(i).Name()))
	}
	for _, want := range []string{"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"} {
		if !slices.Contains(methods, want) {
			t.Errorf("%s is not among %q", want, methods)
		}
	}

	method := service.Methods().ByName("ModelInfer")
	in, out := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	body := `{"model_name":"loan-mini","inputs":[{"name":"input","datatype":"FP32","shape":["1","2"],"contents":{"fp32_contents":[0.1,0.9]}}]}`
	if err := protojson.Unmarshal([]byte(body), in); err != nil {
		t.Fatal(err)
	}
	if err := conn.Invoke(ctx, "/inference.GRPCInferenceService/ModelInfer", in, out); err != nil {
		t.Fatal(err)
	}
	output := out.Get(method.Output().Fields().ByName("outputs")).List().Get(0).Message()
	contents := output.Get(output.Descriptor().Fields().ByName("contents")).Message()
	values := contents.Get(contents.Descriptor().Fields().ByName("fp32_contents")).List()
	if values.Len() != 1 || math.Abs(values.Get(0).Float()-miniAnswer) > 1e-6 {
		t.Errorf("%v", out)
	}

	raw := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.1)), math.Float32bits(0.9))
	tensor := in.Get(method.Input().Fields().ByName("inputs")).List().Get(0).Message()
	tensor.Clear(tensor.Descriptor().Fields().ByName("contents"))
	in.Mutable(method.Input().Fields().ByName("raw_input_contents")).List().Append(protoreflect.ValueOfBytes(raw))
	if err := conn.Invoke(ctx, "/inference.GRPCInferenceService/ModelInfer", in, out); err != nil {
		t.Fatal(err)
	}
	answer := out.Get(method.Output().Fields().ByName("raw_output_contents")).List()
	if answer.Len() != 1 || len(answer.Get(0).Bytes()) != 4 || math.Abs(float64(math.Float32frombits(binary.LittleEndian.Uint32(answer.Get(0).Bytes())))-miniAnswer) > 1e-6 {
		t.Errorf("%v", out)
	}
}

const miniAnswer = 0.03645607829093933 // of XGBoost to the row 0.1, 0.9

func find[D protoreflect.Descriptor](t *testing.T, files *protoregistry.Files, name protoreflect.FullName) D {
	t.Helper()
	d, err := files.FindDescriptorByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return d.(D)
}
