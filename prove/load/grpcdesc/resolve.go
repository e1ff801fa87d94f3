package grpcdesc

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// resolve finds a method in files from source, which the errors name. Imports may be missing as long as the method
// does not need them, as is usual with those that only declare options.
func resolve(files []*descriptorpb.FileDescriptorProto, method, source, remedy string) (*Method, error) {
	service, name, err := splitName(method)
	if err != nil {
		return nil, err
	}
	files, missing := complete(files)
	registry, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(&descriptorpb.FileDescriptorSet{File: files})
	if err != nil {
		return nil, fmt.Errorf("%s: descriptors contradict themselves: %w", source, tidied{err})
	}
	found, err := registry.FindDescriptorByName(service)
	if err != nil {
		return nil, unknownService(service, servicesOf(registry), source)
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s: %s is a message or another type and no service", source, service)
	}
	d := s.Methods().ByName(name)
	if d == nil {
		var names []protoreflect.Name
		for i := range s.Methods().Len() {
			names = append(names, s.Methods().Get(i).Name())
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%s: service %s has no method %s, nor any other", source, service, name)
		}
		return nil, fmt.Errorf("%s: service %s has no method %s; it has %s", source, service, name, listed(names))
	}
	if unknown := firstUnknown(d.Input(), d.Output()); unknown != "" {
		return nil, fmt.Errorf("%s: method %s needs type %s, which is not there; imports that are missing: %s; %s", source, method, unknown, listed(missing), remedy)
	}
	return newMethod(d, dynamicpb.NewTypes(registry)), nil
}

// unknownService is the error that lists the services there are.
func unknownService(service protoreflect.FullName, services []string, source string) error {
	if len(services) == 0 {
		return fmt.Errorf("%s: no service %s, nor any other", source, service)
	}
	return fmt.Errorf("%s: no service %s; there is %s", source, service, listed(services))
}

func servicesOf(registry *protoregistry.Files) []string {
	var names []string
	registry.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			names = append(names, string(f.Services().Get(i).FullName()))
		}
		return true
	})
	slices.Sort(names)
	return names
}

// complete adds the files of the well-known types where they are imported but not among files, and returns the names
// of the imports that are still missing. Of files with the same name it keeps the first.
func complete(files []*descriptorpb.FileDescriptorProto) (all []*descriptorpb.FileDescriptorProto, missing []string) {
	has := map[string]bool{}
	for _, f := range files {
		if !has[f.GetName()] {
			has[f.GetName()] = true
			all = append(all, f)
		}
	}
	for i := 0; i < len(all); i++ { // all grows
		for _, imported := range all[i].GetDependency() {
			if has[imported] {
				continue
			}
			has[imported] = true
			if f := wellKnown(imported); f != nil {
				all = append(all, f)
			} else {
				missing = append(missing, imported)
			}
		}
	}
	return all, missing
}

// wellKnown returns a file that comes with every protoc, nil for others.
func wellKnown(name string) *descriptorpb.FileDescriptorProto {
	for _, f := range []protoreflect.FileDescriptor{
		anypb.File_google_protobuf_any_proto,
		descriptorpb.File_google_protobuf_descriptor_proto,
		durationpb.File_google_protobuf_duration_proto,
		emptypb.File_google_protobuf_empty_proto,
		fieldmaskpb.File_google_protobuf_field_mask_proto,
		structpb.File_google_protobuf_struct_proto,
		timestamppb.File_google_protobuf_timestamp_proto,
		wrapperspb.File_google_protobuf_wrappers_proto,
	} {
		if f.Path() == name {
			return protodesc.ToFileDescriptorProto(f)
		}
	}
	return nil
}

// firstUnknown returns the name of a type that messages need, at any depth, and that has no definition; "" when all
// are there.
func firstUnknown(messages ...protoreflect.MessageDescriptor) protoreflect.FullName {
	seen := map[protoreflect.FullName]bool{}
	for len(messages) > 0 {
		m := messages[len(messages)-1]
		messages = messages[:len(messages)-1]
		if m.IsPlaceholder() {
			return m.FullName()
		}
		if seen[m.FullName()] {
			continue
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if e := f.Enum(); e != nil && e.IsPlaceholder() {
				return e.FullName()
			}
			if f.Message() != nil {
				messages = append(messages, f.Message())
			}
		}
	}
	return ""
}
