package grpcserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
)

// framed is a message as it is on the wire.
func framed(compressed byte, b string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(len(b))), b...)
}

// told is what a raw client was told of its call.
func told(t *testing.T, r *running, path string, whole bool, data []byte, extra ...hpack.HeaderField) map[string]string {
	t.Helper()
	f := dialFrames(t, r.addr)
	f.until(t, isSettings)
	f.WriteSettingsAck()
	f.head(t, 1, path, extra...)
	if err := f.WriteData(1, whole, data); err != nil {
		t.Fatal(err)
	}
	got := f.trailer(t)
	if !whole {
		f.until(t, func(frame http2.Frame) bool { _, ok := frame.(*http2.RSTStreamFrame); return ok })
	}
	f.c.Close()
	return got
}

func TestMessageThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	cfg := testConfig()
	cfg.ReadTimeout = 100 * time.Millisecond
	unary := make(chan context.Context, 1)
	r := start(t, cfg, Deps{}, texts(func(ctx context.Context, dec func(any) error) (any, error) {
		var m text
		err := dec(&m)
		wantCode(t, err, codes.DeadlineExceeded, "the message did not arrive in time")
		unary <- ctx
		return &m, err
	}, echoes), inference(isReady))
	for name, data := range map[string][]byte{
		"nothing": nil, "half a prefix": {0, 0, 0}, "half a message": framed(0, "abc")[:6], "no end of the stream": framed(0, "abc"),
	} {
		begun := time.Now()
		got := told(t, r, "/test.Texts/Unary", false, data)
		if d := time.Since(begun); got["grpc-status"] != "4" || got["x-request-id"] == "" || d > 5*time.Second || d < cfg.ReadTimeout {
			t.Errorf("%s: %v after %v", name, got, d)
		}
		if ctx := <-unary; ctx.Err() != context.DeadlineExceeded {
			t.Errorf("%s: the context says %v", name, ctx.Err())
		}
	}
	if got := told(t, r, readyMethod, false, nil); got["grpc-status"] != "4" {
		t.Errorf("a method of protobuf: %v", got)
	}
	for _, o := range r.seen.wait(t, "/test.Texts/Unary", 4) {
		if o.Code != codes.DeadlineExceeded {
			t.Errorf("outcome %+v", o)
		}
	}

	// A stream waits for its client as long as that likes.
	stream, err := r.dial(t).NewStream(within(t, 10*time.Second), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Texts/Stream", grpc.ForceCodecV2(clientCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * cfg.ReadTimeout)
	if err := stream.SendMsg(&text{s: "x"}); err != nil {
		t.Error(err)
	}
	if err := stream.RecvMsg(&text{}); err != nil {
		t.Error(err)
	}
}

func TestHandlerMayTakeLongerThanItsMessage(t *testing.T) {
	cfg := testConfig()
	cfg.ReadTimeout = 50 * time.Millisecond
	r := start(t, cfg, Deps{}, texts(func(ctx context.Context, dec func(any) error) (any, error) {
		time.Sleep(3 * cfg.ReadTimeout) // for room; only then it asks
		var m text
		if err := dec(&m); err != nil {
			return nil, err
		}
		time.Sleep(3 * cfg.ReadTimeout)
		return &m, ctx.Err()
	}, echoes))
	if got, err := say(context.Background(), r.dial(t), "x"); got != "x" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestMessageThatCannotBeReadIsItsClientsFault(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, strings.Repeat("x", 10_000))
	z.Close()
	gzipped, deflated := hpack.HeaderField{Name: "grpc-encoding", Value: "gzip"}, hpack.HeaderField{Name: "grpc-encoding", Value: "deflate"}
	for name, c := range map[string]struct {
		data  []byte
		extra []hpack.HeaderField
		want  string
	}{
		"not gzip":             {framed(1, "garbage"), []hpack.HeaderField{gzipped}, "decompress"},
		"gzip that is cut":     {framed(1, zipped.String()[:20]), []hpack.HeaderField{gzipped}, "EOF"},
		"not deflate":          {framed(1, "garbage"), []hpack.HeaderField{deflated}, "zlib"},
		"compressed unsaid":    {framed(1, "garbage"), nil, "compressed flag"},
		"an unknown flag":      {framed(7, "garbage"), nil, "payload format"},
		"no message":           {nil, nil, "no request message"},
		"cut message":          {framed(0, "abc")[:6], nil, "EOF"},
		"two messages":         {append(framed(0, "a"), framed(0, "b")...), nil, "multiple request messages"},
		"a cut second message": {append(framed(0, "a"), 0, 0, 0, 0, 9, 1), nil, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, testConfig(), Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
				var m text
				err := dec(&m)
				wantCode(t, err, codes.InvalidArgument, "the message cannot be read: ")
				wantCode(t, err, codes.InvalidArgument, c.want)
				return &m, err
			}, echoes))
			got := told(t, r, "/test.Texts/Unary", true, c.data, c.extra...)
			if got["grpc-status"] == "0" || got["x-request-id"] == "" {
				t.Errorf("told %v", got)
			}
			if o := r.seen.wait(t, "/test.Texts/Unary", 1)[0]; o.Code != codes.InvalidArgument {
				t.Errorf("outcome %+v", o)
			}
			r.stop()
			if line := r.access.String(); !strings.Contains(line, `"level":"INFO"`) || !strings.Contains(line, got["x-request-id"]) || r.logs.String() != "" {
				t.Errorf("access %s, log %s", line, r.logs)
			}
		})
	}
}

func TestClientThatTakesNoAnswerIsCutOff(t *testing.T) {
	cfg := testConfig()
	cfg.WriteTimeout = 200 * time.Millisecond
	big := strings.Repeat("x", 1<<20)
	r := start(t, cfg, Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		var m text
		if err := dec(&m); err != nil {
			return nil, err
		}
		if m.s == "big" {
			return &text{s: big}, nil
		}
		return &text{s: m.s}, nil
	}, echoes))
	other := r.dial(t) // takes what it asks for
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, "big")
	z.Close()
	gzipped := []hpack.HeaderField{{Name: "grpc-encoding", Value: "gzip"}, {Name: "grpc-accept-encoding", Value: "gzip"}}
	for question, c := range map[string]struct {
		data  []byte
		extra []hpack.HeaderField
	}{
		"big": {framed(0, "big"), nil}, "small": {framed(0, "small"), nil}, "zipped": {framed(1, zipped.String()), gzipped},
	} {
		f := dialFrames(t, r.addr)
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		f.until(t, isSettings)
		f.WriteSettingsAck()
		for i := range uint32(8) {
			f.head(t, 1+2*i, "/test.Texts/Unary", c.extra...)
			f.WriteData(1+2*i, true, c.data)
		}
		begun := time.Now()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				break // closed
			}
			if ping, ok := frame.(*http2.PingFrame); ok && !ping.IsAck() {
				f.WritePing(true, ping.Data) // it is alive, to all appearance
			}
			if got, err := say(context.Background(), other, "x"); got != "x" || err != nil {
				t.Fatal(got, err)
			}
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("%s: closed after %v", question, d)
		}
		f.c.Close()
	}
	if got, err := say(within(t, 5*time.Second), other, "x"); got != "x" || err != nil {
		t.Error(got, err)
	}
	for range 3 {
		if got, err := say(context.Background(), other, "big"); got != big || err != nil {
			t.Error(len(got), err)
		}
	}
	if n := strings.Count(r.logs.String(), `"error_code":"answer_not_taken"`); n != 3 {
		t.Errorf("%d connections named in %s", n, r.logs)
	}
	for end := time.Now().Add(10 * time.Second); r.answers.count() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d answers are remembered", r.answers.count())
		}
	}
}

// lasting is an answer that counts how it was given back.
type lasting struct {
	text
	given, abandoned atomic.Int64
}

func (l *lasting) MarshalBuffers() (mem.BufferSlice, error) {
	data := []byte(l.s)
	return mem.BufferSlice{mem.NewBuffer(&data, &lastingPool{l})}, nil
}

func (l *lasting) Abandon() { l.abandoned.Add(1) }

type lastingPool struct{ of *lasting }

func (p *lastingPool) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (p *lastingPool) Put(*[]byte)       { p.of.given.Add(1) }

// TestAnswersOfAConnectionThatEndsAreGivenBack, however it ends: gRPC forgets those that it has begun to write, or that
// wait for a window.
func TestAnswersOfAConnectionThatEndsAreGivenBack(t *testing.T) {
	var mu sync.Mutex
	var made []*lasting
	cfg := testConfig()
	cfg.WriteTimeout = time.Second
	r := start(t, cfg, Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		var m text
		if err := dec(&m); err != nil {
			return nil, err
		}
		l := &lasting{text: text{s: strings.Repeat("x", 100_000)}}
		mu.Lock()
		made = append(made, l)
		mu.Unlock()
		return l, nil
	}, echoes))
	await := func(n int, what string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			back := 0
			for _, l := range made {
				switch given, abandoned := l.given.Load(), l.abandoned.Load(); {
				case given > 1 || abandoned > 1:
					t.Fatalf("%s: given back %d times, abandoned %d", what, given, abandoned)
				case given+abandoned > 0:
					back++
				}
			}
			all := len(made)
			mu.Unlock()
			if all == n && back == n {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %d of %d answers are back, %d were expected", what, back, all, n)
			}
		}
	}
	ask := func(window uint32) *frames {
		f := dialFrames(t, r.addr)
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		f.until(t, isSettings)
		f.WriteSettingsAck()
		for i := range uint32(5) {
			f.head(t, 1+2*i, "/test.Texts/Unary")
			f.WriteData(1+2*i, true, framed(0, "x"))
		}
		return f
	}
	asked := 0
	for name, window := range map[string]uint32{"before the first byte": 0, "in the middle": 1000} {
		f := ask(window)
		asked += 5
		for { // until all are answered, so that none is refused because its caller went
			mu.Lock()
			n := len(made)
			mu.Unlock()
			if n == asked {
				break
			}
			time.Sleep(time.Millisecond)
		}
		f.c.Close()
		await(asked, name)
	}
	f := ask(0)
	asked += 5
	await(asked, "after write_timeout")
	f.c.Close()
	ask(0)
	asked += 5
	for end := time.Now().Add(10 * time.Second); r.answers.count() < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d answers wait", r.answers.count())
		}
	}
	r.stop()
	await(asked, "after a stop")
}

// count is how many answers are known.
func (all *answers) count() (n int) {
	for i := range all.shards {
		s := &all.shards[i]
		s.mu.Lock()
		for a := s.head; a != nil; a = a.next {
			n++
		}
		s.mu.Unlock()
	}
	return n
}
