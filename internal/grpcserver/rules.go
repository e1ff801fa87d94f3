package grpcserver

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// maxViolations bounds what one refusal names. A client that sent more has enough to mend.
const maxViolations = 16

// maxElements bounds the messages of which all violations are looked for: each costs some hundred bytes, and an element
// of two bytes may have several. Of a message that holds more only the first is found.
const maxElements = 256

// rules hold messages against what their sources declare.
type rules struct {
	validator protovalidate.Validator
	first     []protovalidate.ValidationOption // stop there
}

func newRules() (rules, error) {
	v, err := protovalidate.New()
	return rules{v, []protovalidate.ValidationOption{protovalidate.WithFailFast()}}, err
}

// compile makes ready the rules of what a service's methods receive, so that no call waits for it, and returns what
// is wrong with them. A service that is not linked in as protobuf has none.
func (r rules) compile(service string) error {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	for i := range sd.Methods().Len() {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(sd.Methods().Get(i).Input().FullName())
		if err != nil {
			continue
		}
		if err := r.compileMessage(kind.New().Interface()); err != nil {
			return err
		}
	}
	return nil
}

func (r rules) compileMessage(m proto.Message) error {
	err := r.validator.Validate(m)
	if _, ok := errors.AsType[*protovalidate.CompilationError](err); ok {
		return fmt.Errorf("rules of %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil // an empty message may well break them
}

// check returns why a message must not reach its handler, as an error with a status.
func (r rules) check(message any) error {
	var err error
	switch m := message.(type) {
	case proto.Message:
		err = r.validator.Validate(m, r.first...)
	case interface{ Validate() error }:
		err = m.Validate()
	}
	if err == nil {
		return nil
	}
	if _, ok := ownStatus(err); ok {
		return err
	}
	bad, rest := &errdetails.BadRequest{}, ""
	if m, ok := message.(proto.Message); ok {
		if left := maxElements; few(m.ProtoReflect(), &left) {
			err = cmp.Or(r.validator.Validate(m), err) // a rule about the time may be kept by now
		} else {
			rest = "; a message of so many elements is looked at no further"
		}
		invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
		if !ok {
			return fmt.Errorf("rules of %T: %w", message, err) // it is they that failed
		}
		for _, v := range invalid.Violations[:min(len(invalid.Violations), maxViolations)] {
			bad.FieldViolations = append(bad.FieldViolations, violationOf(v))
		}
		if more := len(invalid.Violations) - maxViolations; more > 0 {
			rest = fmt.Sprintf("; and %d more", more)
		}
		return refusal(bad, rest)
	}
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	for _, fault := range faults[:min(len(faults), maxViolations)] {
		bad.FieldViolations = append(bad.FieldViolations, violationIn(fault.Error()))
	}
	if more := len(faults) - maxViolations; more > 0 {
		rest = fmt.Sprintf("; and %d more", more)
	}
	return refusal(bad, rest)
}

// few reports whether all lists, maps and messages within a message have at most so many elements, and stops once they
// have more.
func few(m protoreflect.Message, left *int) bool {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			*left -= v.Map().Len()
			if f.MapValue().Message() != nil && *left >= 0 {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { return few(v.Message(), left) })
			}
		case f.IsList():
			*left -= v.List().Len()
			for i := 0; f.Message() != nil && i < v.List().Len() && *left >= 0; i++ {
				few(v.List().Get(i).Message(), left)
			}
		case f.Message() != nil:
			*left--
			few(v.Message(), left)
		}
		return *left >= 0
	})
	return *left >= 0
}

func violationOf(v *protovalidate.Violation) *errdetails.BadRequest_FieldViolation {
	return &errdetails.BadRequest_FieldViolation{
		Field: protovalidate.FieldPathString(v.Proto.GetField()), Description: v.Proto.GetMessage(), Reason: v.Proto.GetRuleId(),
	}
}

// violationIn takes an error of Validate apart, which begins with its field by the rules of the house.
func violationIn(text string) *errdetails.BadRequest_FieldViolation {
	field, description, ok := strings.Cut(text, ": ")
	if !ok || strings.ContainsAny(field, " \t\n") {
		field, description = "", text
	}
	return &errdetails.BadRequest_FieldViolation{Field: field, Description: description}
}

// refusal names what is wrong, and the rest in words.
func refusal(bad *errdetails.BadRequest, rest string) error {
	var text strings.Builder
	text.WriteString("invalid request: ")
	for i, v := range bad.FieldViolations {
		v.Field, v.Description = shorten(v.Field), shorten(v.Description)
		if i > 0 {
			text.WriteString("; ")
		}
		if v.Field != "" {
			text.WriteString(v.Field + ": ")
		}
		text.WriteString(v.Description)
	}
	text.WriteString(rest)
	st := status.New(codes.InvalidArgument, text.String())
	if detailed, err := st.WithDetails(bad); err == nil {
		st = detailed
	}
	return st.Err()
}

// shorten keeps what a client chose, such as the key of a map, from filling the answer. It is read by a client's
// library, so that it must be UTF-8.
func shorten(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
