package grpcdesc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/descriptorpb"
)

// loans is a file with a service, as protoc describes it; it imports one that its messages need and one that they
// do not.
func loans() *descriptorpb.FileDescriptorProto {
	return file(`
		name: "bank/loans.proto" package: "bank" syntax: "proto3"
		dependency: ["bank/money.proto", "gateway/options.proto", "google/protobuf/timestamp.proto", "google/protobuf/any.proto"]
		message_type {
			name: "Application"
			field { name: "applicant_name" json_name: "applicantName" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
			field { name: "amount" json_name: "amount" number: 2 type: TYPE_MESSAGE type_name: ".bank.Money" label: LABEL_OPTIONAL }
			field { name: "features" json_name: "features" number: 3 type: TYPE_DOUBLE label: LABEL_REPEATED }
			field { name: "at" json_name: "at" number: 4 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
			field { name: "months" json_name: "months" number: 5 type: TYPE_INT64 label: LABEL_OPTIONAL }
			field { name: "co_applicant" json_name: "coApplicant" number: 6 type: TYPE_MESSAGE type_name: ".bank.Application" label: LABEL_OPTIONAL }
			field { name: "extra" json_name: "extra" number: 7 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL }
			field { name: "tags" json_name: "tags" number: 8 type: TYPE_MESSAGE type_name: ".bank.Application.TagsEntry" label: LABEL_REPEATED }
			nested_type {
				name: "TagsEntry" options { map_entry: true }
				field { name: "key" json_name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
				field { name: "value" json_name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
			}
		}
		message_type {
			name: "Judgement"
			field { name: "approved" json_name: "approved" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL }
			field { name: "risk_class" json_name: "riskClass" number: 2 type: TYPE_ENUM type_name: ".bank.Risk" label: LABEL_OPTIONAL }
		}
		service {
			name: "Loans"
			method { name: "Judge" input_type: ".bank.Application" output_type: ".bank.Judgement" }
			method { name: "Follow" input_type: ".bank.Application" output_type: ".bank.Judgement" server_streaming: true }
			method { name: "Talk" input_type: ".bank.Application" output_type: ".bank.Judgement" server_streaming: true client_streaming: true }
		}`)
}

func money() *descriptorpb.FileDescriptorProto {
	return file(`
		name: "bank/money.proto" package: "bank" syntax: "proto3"
		message_type {
			name: "Money"
			field { name: "cents" json_name: "cents" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
			field { name: "risk" json_name: "risk" number: 2 type: TYPE_ENUM type_name: ".bank.Risk" label: LABEL_OPTIONAL }
		}
		enum_type { name: "Risk" value { name: "LOW" number: 0 } value { name: "HIGH" number: 1 } }`)
}

// strict is a proto2 file with a required field.
func strict() *descriptorpb.FileDescriptorProto {
	return file(`
		name: "bank/strict.proto" package: "bank.strict" syntax: "proto2"
		message_type {
			name: "Request"
			field { name: "id" json_name: "id" number: 1 type: TYPE_INT32 label: LABEL_REQUIRED }
			extension_range { start: 100 end: 200 }
		}
		extension { name: "priority" json_name: "priority" number: 100 type: TYPE_INT32 label: LABEL_OPTIONAL extendee: ".bank.strict.Request" }
		service { name: "Strict" method { name: "Do" input_type: ".bank.strict.Request" output_type: ".bank.strict.Request" } }`)
}

func file(text string) *descriptorpb.FileDescriptorProto {
	f := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal([]byte(text), f); err != nil {
		panic(err) // a test's own file
	}
	return f
}

func writeSet(t testing.TB, files ...*descriptorpb.FileDescriptorProto) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "set.binpb")
	if err := os.WriteFile(path, mustMarshal(t, &descriptorpb.FileDescriptorSet{File: files}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func judge(t testing.TB) *Method {
	t.Helper()
	m, err := FromFile(writeSet(t, loans(), money(), strict()), "bank.Loans/Judge")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestStreamsAreTold(t *testing.T) {
	path := writeSet(t, loans(), money())
	for _, c := range []struct {
		method         string
		server, client bool
	}{{"Judge", false, false}, {"Follow", true, false}, {"Talk", true, true}} {
		m, err := FromFile(path, "bank.Loans/"+c.method)
		if err != nil {
			t.Fatal(err)
		}
		if m.ServerStream() != c.server || m.ClientStream() != c.client || m.FullName() != "/bank.Loans/"+c.method {
			t.Errorf("%s: server stream %v, client stream %v", m.FullName(), m.ServerStream(), m.ClientStream())
		}
	}
}

func TestEncodeWritesTheWireForm(t *testing.T) {
	m := judge(t)
	for json, want := range map[string]string{
		"":                                   "",
		" \n":                                "",
		"{}":                                 "",
		`{"applicantName": "Li"}`:            "\x0a\x02Li",
		`{"applicant_name": "Li"}`:           "\x0a\x02Li",
		`{"amount": {"cents": 300}}`:         "\x12\x03\x08\xac\x02",
		`{"amount": {"risk": "HIGH"}}`:       "\x12\x02\x10\x01",
		`{"months": "12"}`:                   "\x28\x0c",
		`{"months": 12}`:                     "\x28\x0c",
		`{"at": "1970-01-01T00:00:07Z"}`:     "\x22\x02\x08\x07",
		`{"coApplicant": {"months": 1}}`:     "\x32\x02\x28\x01",
		`{"tags": {"b": "2", "a": "1"}}`:     "\x42\x06\x0a\x01a\x12\x011\x42\x06\x0a\x01b\x12\x012",
		`{"features": [1], "months": "100"}`: "\x1a\x08\x00\x00\x00\x00\x00\x00\xf0\x3f\x28\x64",
		`{"extra": {"@type": "type.googleapis.com/bank.Money", "cents": 1}}`: "\x3a\x24\x0a\x1etype.googleapis.com/bank.Money\x12\x02\x08\x01",
	} {
		wire, err := m.Encode([]byte(json), []byte("before"))
		if err != nil {
			t.Errorf("%s: %v", json, err)
		} else if string(wire) != "before"+want {
			t.Errorf("%s: encoded as %q, want %q after what was there", json, wire, want)
		}
	}
}

func TestEncodeNamesTheFieldAtFault(t *testing.T) {
	m := judge(t)
	for json, parts := range map[string][]string{
		`{"name": "Li"}`:                 {`unknown field "name"`, "bank.Application", "/bank.Loans/Judge"},
		`{"amount": {"euros": 1}}`:       {`unknown field "euros"`},
		`{"months": "soon"}`:             {"months", "soon"},
		`{"amount": {"risk": "MIDDLE"}}`: {"risk", "MIDDLE"},
		`{"at": "yesterday"}`:            {"Timestamp", "yesterday"},
		`[]`:                             {"unexpected token ["},
		`{"months": 1`:                   {"unexpected"},
		`{} {}`:                          {"unexpected"},
		`{"months": 1, "months": 2}`:     {"duplicate", "months"},
	} {
		wire, err := m.Encode([]byte(json), []byte("before"))
		wantError(t, err, parts...)
		if string(wire) != "before" {
			t.Errorf("%s: left %q behind", json, wire)
		}
		if strings.Contains(err.Error(), "\u00a0") || strings.Contains(err.Error(), "proto: ") {
			t.Errorf("error %q is not tidy", err)
		}
	}
}

func TestRequiredFieldsAndExtensionsOfProto2(t *testing.T) {
	m, err := FromFile(writeSet(t, strict()), "bank.strict.Strict.Do")
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Encode([]byte("{}"), nil)
	wantError(t, err, "required", "id")
	_, err = m.Encode(nil, nil)
	wantError(t, err, "required", "id")
	wire, err := m.Encode([]byte(`{"id": 1, "[bank.strict.priority]": 2}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\xa0\x06\x02\x08\x01"; string(wire) != want {
		t.Errorf("encoded as %q, want %q", wire, want)
	}
	wantJSON(t, m, wire, `{"id":1,"[bank.strict.priority]":2}`)
}

func TestDecodeShowsDefaults(t *testing.T) {
	m := judge(t)
	wantJSON(t, m, nil, `{"approved":false,"riskClass":"LOW"}`)
	wantJSON(t, m, []byte("\x08\x01\x10\x01"), `{"approved":true,"riskClass":"HIGH"}`)
	wantJSON(t, m, []byte("\x08\x01\x98\x06\x01"), `{"approved":true,"riskClass":"LOW"}`) // an unknown field
	_, err := m.DecodeJSON([]byte("\x08"))
	wantError(t, err, "response bank.Judgement of /bank.Loans/Judge")
}

func TestFaultsOfADescriptorSetAreSaid(t *testing.T) {
	path := writeSet(t, loans(), money(), healthFile())
	_, err := FromFile(path, "bank.Loan/Judge")
	wantError(t, err, path, "no service bank.Loan", "bank.Loans, grpc.health.v1.Health")
	_, err = FromFile(path, "bank.Loans/Jugde")
	wantError(t, err, path, "no method Jugde", "Judge, Follow, Talk")
	_, err = FromFile(path, "bank.Money/Judge")
	wantError(t, err, "bank.Money", "no service")
	for _, name := range []string{"", "/", "Judge", "bank.Loans/", "/Judge", "bank.Loans/Judge/x", "bank..Loans/Judge", "bank.Loans Judge"} {
		_, err = FromFile(path, name)
		wantError(t, err, fmt.Sprintf("%q", name), "package.Service/Method")
	}
	_, err = FromFile(writeSet(t, loans()), "bank.Loans/Judge")
	wantError(t, err, "needs type bank.", "bank/money.proto", "--include_imports")
	_, err = FromFile(writeSet(t), "bank.Loans/Judge")
	wantError(t, err, "describes no file")
	_, err = FromFile(writeSet(t, money()), "bank.Loans/Judge")
	wantError(t, err, "no service bank.Loans, nor any other")
	_, err = FromFile(filepath.Join(t.TempDir(), "absent"), "a.B/C")
	wantError(t, err, "descriptor set", "absent")

	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte(`syntax = "proto3";`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = FromFile(garbage, "a.B/C")
	wantError(t, err, garbage, "no FileDescriptorSet", "--descriptor_set_out")

	twice := money()
	twice.Name = new(string)
	*twice.Name = "again.proto"
	_, err = FromFile(writeSet(t, money(), twice), "bank.Loans/Judge")
	wantError(t, err, "contradict")
}

func TestLongListsAreCut(t *testing.T) {
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprint("s", i))
	}
	got := listed(names)
	if !strings.HasSuffix(got, "s19 and 5 more") || strings.Count(got, ",") != 19 {
		t.Errorf("listed %s", got)
	}
}

func TestTooLargeASetIsRefusedUnread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(maxSet + 1); err != nil { // takes no disk
		t.Fatal(err)
	}
	_, err = FromFile(path, "a.B/C")
	wantError(t, err, "64 MiB")
}

func FuzzFromFile(f *testing.F) {
	f.Add(mustMarshal(f, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{loans(), money()}}), "bank.Loans/Judge")
	f.Add(mustMarshal(f, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{loans()}}), "/bank.Loans/Talk")
	f.Add(mustMarshal(f, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{strict()}}), "bank.strict.Strict.Do")
	f.Add(mustMarshal(f, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{healthFile()}}), "grpc.health.v1.Health/Watch")
	f.Add([]byte("\x0a\x00"), "a.B/C")
	f.Fuzz(func(t *testing.T, data []byte, method string) {
		m, err := fromSet(data, method, "set")
		if err != nil {
			return
		}
		// What was found works, or says why not.
		for _, json := range []string{"{}", `{"a": 1}`} {
			if wire, err := m.Encode([]byte(json), nil); err == nil {
				_, _ = m.DecodeJSON(wire)
			}
		}
	})
}

func FuzzEncode(f *testing.F) {
	for _, json := range []string{"", "{}", `{"applicantName": "Li", "months": "12"}`, `{"amount": {"cents": -1, "risk": 7}}`, `{"features": [1e300, "NaN"]}`,
		`{"extra": {"@type": "type.googleapis.com/bank.Application", "months": 1}}`, `{"at": "2026-01-01T00:00:00Z", "tags": {"a": ""}}`, `{"coApplicant": {"coApplicant": null}}`, "[", "\xff"} {
		f.Add([]byte(json))
	}
	m := judge(f)
	// A method whose answer is its request, to read back what was encoded.
	echo := *m
	echo.out = m.in
	f.Fuzz(func(t *testing.T, json []byte) {
		wire, err := m.Encode(json, nil)
		if err != nil {
			return
		}
		read, err := echo.DecodeJSON(wire)
		if err != nil {
			t.Fatalf("%s is encoded as %x, which cannot be read: %v", json, wire, err)
		}
		again, err := m.Encode(read, nil)
		if err != nil {
			t.Fatalf("%s is read back as %s, which cannot be encoded: %v", json, read, err)
		}
		if !bytes.Equal(wire, again) {
			t.Fatalf("%s is encoded as %x, its own reading %s as %x", json, wire, read, again)
		}
	})
}
