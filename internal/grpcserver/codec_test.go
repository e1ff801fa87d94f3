package grpcserver

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
)

func TestServiceReadsAndWritesBytesItself(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(echo, echoes), inference(isReady))
	cc := r.dial(t)
	if got, err := say(context.Background(), cc, "hello"); got != "echo hello" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if o := r.seen.wait(t, "/test.Texts/Unary", 1)[0]; o.BytesIn != 5 || o.BytesOut != 10 {
		t.Errorf("outcome %+v", o)
	}
	if err := ask(context.Background(), cc); err != nil {
		t.Error("protobuf beside it:", err)
	}
}

func TestWhatCannotBeReadIsTheCallersFault(t *testing.T) {
	fault := errors.New("rows: end in the middle of a number")
	r := start(t, testConfig(), Deps{}, inference(isReady), texts(func(_ context.Context, dec func(any) error) (any, error) {
		m := text{unmarshal: func(string) error { return fault }}
		return &m, dec(&m)
	}, echoes))
	cc := r.dial(t)
	for name, wire := range map[string]string{
		"invalid UTF-8": "\x0a\x02\xff\xfe",
		"cut short":     "\x0a\x09loan",
		"no protobuf":   "{\"name\":\"loan\"}",
	} {
		err := cc.Invoke(context.Background(), readyMethod, &text{s: wire}, &text{}, grpc.ForceCodecV2(clientCodec{}))
		if st := wantCode(t, err, codes.InvalidArgument, "the message cannot be read"); name == "invalid UTF-8" && !strings.Contains(st.Message(), "UTF-8") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := say(context.Background(), cc, "x")
	wantCode(t, err, codes.InvalidArgument, "rows: end in the middle")
	fault = status.Error(codes.ResourceExhausted, "too many rows")
	_, err = say(context.Background(), cc, "x")
	wantCode(t, err, codes.ResourceExhausted, "too many rows")
}

func TestMessagesAreBoundedAlsoWhenUnpacked(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessageBytes = 64 << 10
	r := start(t, cfg, Deps{}, texts(echo, echoes))
	cc := r.dial(t)
	fits := strings.Repeat("a", 64<<10)
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
		if got, err := say(context.Background(), cc, fits, opts...); err != nil || got != "echo "+fits {
			t.Errorf("%d bytes: %d, %v", len(fits), len(got), err)
		}
		_, err := say(context.Background(), cc, fits+"a", opts...)
		wantCode(t, err, codes.ResourceExhausted, "larger than max")
	}
	for _, o := range r.seen.wait(t, "/test.Texts/Unary", 4) {
		if o.Code != codes.OK && o.Code != codes.ResourceExhausted {
			t.Errorf("outcome %+v", o)
		}
	}
}

func TestDeflateIsReadWithoutBeingRegistered(t *testing.T) {
	if encoding.GetCompressor("deflate") != nil {
		t.Fatal("the process knows deflate: the test shows nothing")
	}
	cfg := testConfig()
	cfg.MaxMessageBytes = 32 << 10
	read := make(chan string, 1)
	r := start(t, cfg, Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		m := text{unmarshal: func(s string) error { read <- s; return nil }}
		return &m, dec(&m)
	}, echoes))
	fits := strings.Repeat("a", 32<<10)
	for message, code := range map[string]string{"hello": "0", fits: "0", fits + "a": "8"} {
		for range 3 { // readers are used again
			var packed bytes.Buffer
			z := zlib.NewWriter(&packed)
			io.WriteString(z, message)
			z.Close()
			got := told(t, r, "/test.Texts/Unary", true, framed(1, packed.String()), hpack.HeaderField{Name: "grpc-encoding", Value: "deflate"})
			if got["grpc-status"] != code {
				t.Errorf("%d bytes: told %v", len(message), got)
			}
			if code == "0" && <-read != message {
				t.Errorf("%d bytes: read something else", len(message))
			}
		}
	}
}

func TestAnswersAreSentPlain(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(echo, echoes))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, "hello")
	z.Close()
	accepts := hpack.HeaderField{Name: "grpc-accept-encoding", Value: "gzip"}
	if got := told(t, r, "/test.Texts/Unary", true, framed(1, zipped.String()), accepts, hpack.HeaderField{Name: "grpc-encoding", Value: "gzip"}); got["grpc-encoding"] != "identity" || got["grpc-status"] != "0" {
		t.Errorf("told %v", got)
	}
	if got := told(t, r, "/test.Texts/Unary", true, framed(0, "hello"), accepts); got["grpc-encoding"] != "" || got["grpc-status"] != "0" {
		t.Errorf("a header more for nothing: %v", got)
	}
}

func TestBombCostsNoMoreThanItsBound(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessageBytes = 1 << 20
	r := start(t, cfg, Deps{}, inference(isReady))
	for coding, pack := range map[string]func(io.Writer) io.WriteCloser{
		"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	} {
		var packed bytes.Buffer
		z := pack(&packed)
		for range 64 {
			z.Write(make([]byte, 1<<20))
		}
		z.Close()
		frame := append([]byte{1, byte(packed.Len() >> 24), byte(packed.Len() >> 16), byte(packed.Len() >> 8), byte(packed.Len())}, packed.Bytes()...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if code, message := begin(t, r, readyMethod, frame, "Grpc-Encoding", coding); code != "8" {
			t.Errorf("%s: status %s, %s", coding, code, message)
		}
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 8<<20 {
			t.Errorf("a bomb of %d bytes of %s cost %d", packed.Len(), coding, spent)
		}
	}
	if code, message := begin(t, r, readyMethod, halfMessage, "Grpc-Encoding", "zstd"); code != "12" {
		t.Errorf("an encoding that we do not know: status %s, %s", code, message)
	}
}

func TestOnlyOneMessageOfAUnaryCallIsTaken(t *testing.T) {
	read := make(chan string, 2)
	r := start(t, testConfig(), Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		m := text{unmarshal: func(s string) error { read <- s; return nil }}
		return &m, dec(&m)
	}, echoes))
	stream, err := r.dial(t).NewStream(context.Background(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Texts/Unary", grpc.ForceCodecV2(clientCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"one", "two"} {
		stream.SendMsg(&text{s: s})
	}
	wantCode(t, stream.RecvMsg(&text{}), codes.Internal, "multiple request messages")
	r.seen.wait(t, "/test.Texts/Unary", 1)
	if got := <-read; got != "one" || len(read) > 0 {
		t.Errorf("read %q, and %d more", got, len(read))
	}
}
