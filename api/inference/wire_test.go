package inferencepb

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestWireIsTheProtocols: testdata/protocol.txt lists all that the published protocol has, testdata/triton.txt what
// Triton 2.73 has of the messages that we share. A client made from either must find what it expects.
func TestWireIsTheProtocols(t *testing.T) {
	var ours []string
	for _, f := range []protoreflect.FileDescriptor{File_inference_open_inference_proto, File_inference_triton_extensions_proto} {
		ours = append(ours, listMessages(f.Messages())...)
		ours = append(ours, listEnums(f.Enums())...)
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				ours = append(ours, fmt.Sprintf("rpc %s %s %s %v %v", m.FullName(), m.Input().FullName(), m.Output().FullName(), m.IsStreamingClient(), m.IsStreamingServer()))
			}
		}
	}
	protocol, triton := linesOf(t, "testdata/protocol.txt"), linesOf(t, "testdata/triton.txt")
	for _, line := range protocol {
		if !slices.Contains(ours, line) {
			t.Errorf("the protocol has, and we have not: %s", line)
		}
	}
	for _, line := range ours {
		if !slices.Contains(protocol, line) && !slices.Contains(triton, line) {
			t.Errorf("neither the protocol nor Triton has: %s", line)
		}
	}
}

func linesOf(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func listMessages(messages protoreflect.MessageDescriptors) (lines []string) {
	for i := range messages.Len() {
		m := messages.Get(i)
		if m.Fields().Len() == 0 {
			lines = append(lines, "message "+string(m.FullName()))
		}
		for j := range m.Fields().Len() {
			lines = append(lines, listField(m.Fields().Get(j)))
		}
		lines = append(lines, listEnums(m.Enums())...)
		lines = append(lines, listMessages(m.Messages())...)
	}
	return lines
}

func listField(f protoreflect.FieldDescriptor) string {
	kind, how, oneof := f.Kind().String(), f.Cardinality().String(), ""
	switch {
	case f.Message() != nil:
		kind = string(f.Message().FullName())
	case f.Enum() != nil:
		kind = string(f.Enum().FullName())
	}
	if f.IsPacked() {
		how += " packed"
	}
	if f.ContainingOneof() != nil {
		oneof = " oneof " + string(f.ContainingOneof().Name())
	}
	return fmt.Sprintf("field %s %d %s %s%s", f.FullName(), f.Number(), how, kind, oneof)
}

func listEnums(enums protoreflect.EnumDescriptors) (lines []string) {
	for i := range enums.Len() {
		values := enums.Get(i).Values()
		for j := range values.Len() {
			lines = append(lines, fmt.Sprintf("enum %s.%s %d", enums.Get(i).FullName(), values.Get(j).Name(), values.Get(j).Number()))
		}
	}
	return lines
}
