package grpcdesc

import (
	"bytes"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Method is a gRPC method and the types of its messages. It is safe for concurrent use.
type Method struct {
	fullName     string
	serverStream bool
	clientStream bool
	in, out      protoreflect.MessageType

	readJSON  protojson.UnmarshalOptions
	writeJSON protojson.MarshalOptions
	readWire  proto.UnmarshalOptions
}

func newMethod(d protoreflect.MethodDescriptor, types *dynamicpb.Types) *Method {
	return &Method{
		fullName:     "/" + string(d.Parent().FullName()) + "/" + string(d.Name()),
		serverStream: d.IsStreamingServer(),
		clientStream: d.IsStreamingClient(),
		in:           dynamicpb.NewMessageType(d.Input()),
		out:          dynamicpb.NewMessageType(d.Output()),
		readJSON:     protojson.UnmarshalOptions{Resolver: types},
		// A server of an older version may leave out what is required by now; a check should see the rest.
		writeJSON: protojson.MarshalOptions{Resolver: types, EmitDefaultValues: true, AllowPartial: true},
		readWire:  proto.UnmarshalOptions{Resolver: types, AllowPartial: true},
	}
}

// FullName returns the method as "/pkg.Service/Method".
func (m *Method) FullName() string { return m.fullName }

// ServerStream says whether the server answers with a stream of messages.
func (m *Method) ServerStream() bool { return m.serverStream }

// ClientStream says whether the client asks with a stream of messages.
func (m *Method) ClientStream() bool { return m.clientStream }

// Encode appends to dst the wire form of the request message that json describes, and returns the extended slice.
// Nothing but white space is the empty message. A field that the message does not have, a value of the wrong type
// and a required field that is missing are errors that name the field. The same JSON gives the same bytes.
func (m *Method) Encode(json []byte, dst []byte) ([]byte, error) {
	message := m.in.New().Interface()
	if len(bytes.TrimSpace(json)) > 0 {
		if err := m.readJSON.Unmarshal(json, message); err != nil {
			return dst, fmt.Errorf("request %s of %s: %w", m.in.Descriptor().FullName(), m.fullName, tidied{err})
		}
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, message)
	if err != nil {
		return dst, fmt.Errorf("request %s of %s: %w", m.in.Descriptor().FullName(), m.fullName, tidied{err})
	}
	return wire, nil
}

// DecodeJSON returns the response message in wire as JSON.
func (m *Method) DecodeJSON(wire []byte) ([]byte, error) {
	message := m.out.New().Interface()
	if err := m.readWire.Unmarshal(wire, message); err != nil {
		return nil, fmt.Errorf("response %s of %s: %w", m.out.Descriptor().FullName(), m.fullName, tidied{err})
	}
	json, err := m.writeJSON.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("response %s of %s: %w", m.out.Descriptor().FullName(), m.fullName, tidied{err})
	}
	return json, nil
}

// tidied is an error of the protobuf module, which begins with its own name and puts in a no-break space or not, at
// random per build.
type tidied struct{ err error }

func (t tidied) Error() string {
	return strings.TrimPrefix(strings.ReplaceAll(t.err.Error(), "\u00a0", " "), "proto: ")
}

func (t tidied) Unwrap() error { return t.err }
