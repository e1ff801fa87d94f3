package grpcserver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// frames is a client that writes frames by hand.
type frames struct {
	*http2.Framer
	c net.Conn
}

func dialFrames(t *testing.T, addr string) *frames {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	f := &frames{http2.NewFramer(c, c), c}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// until reads frames until one passes.
func (f *frames) until(t *testing.T, want func(http2.Frame) bool) {
	t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if want(frame) {
			return
		}
	}
}

// head begins a call whose message does not end.
func (f *frames) head(t *testing.T, stream uint32, path string, extra ...hpack.HeaderField) {
	t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path}, {Name: ":authority", Value: "x"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, extra...) {
		enc.WriteField(h)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		t.Error(err)
	}
}

// trailer reads frames until a stream's last header, and returns it.
func (f *frames) trailer(t *testing.T) map[string]string {
	t.Helper()
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	got := map[string]string{}
	f.until(t, func(frame http2.Frame) bool {
		head, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			return false
		}
		for _, h := range head.Fields {
			got[h.Name] = h.Value
		}
		return head.StreamEnded()
	})
	return got
}

func isSettings(frame http2.Frame) bool {
	settings, ok := frame.(*http2.SettingsFrame)
	return ok && !settings.IsAck()
}

func TestClientThatPingsTooOftenIsSentAway(t *testing.T) {
	cfg := testConfig()
	cfg.MinPingInterval = time.Minute
	r := start(t, cfg, Deps{}, inference(isReady))
	f := dialFrames(t, r.addr)
	go func() {
		for range 20 {
			if f.WritePing(false, [8]byte{}) != nil {
				return
			}
		}
	}()
	f.until(t, func(frame http2.Frame) bool {
		away, ok := frame.(*http2.GoAwayFrame)
		if ok && (away.ErrCode != http2.ErrCodeEnhanceYourCalm || !bytes.Contains(away.DebugData(), []byte("too_many_pings"))) {
			t.Errorf("GOAWAY with %v, %q", away.ErrCode, away.DebugData())
		}
		return ok
	})
}

func TestBoundsAreToldToClients(t *testing.T) {
	cfg := testConfig()
	cfg.MaxStreams, cfg.MaxHeaderBytes = 7, 2<<10
	r := start(t, cfg, Deps{}, inference(isReady))
	f := dialFrames(t, r.addr)
	f.until(t, func(frame http2.Frame) bool {
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok || settings.IsAck() {
			return false
		}
		if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != 7 {
			t.Errorf("%d streams", n)
		}
		if n, _ := settings.Value(http2.SettingMaxHeaderListSize); n != 2<<10 {
			t.Errorf("%d bytes of header", n)
		}
		return true
	})
	f.WriteSettingsAck()
	reset := func(code http2.ErrCode, stream uint32) {
		t.Helper()
		f.until(t, func(frame http2.Frame) bool {
			rst, ok := frame.(*http2.RSTStreamFrame)
			if ok && (rst.ErrCode != code || rst.StreamID != stream) {
				t.Errorf("stream %d was reset with %v", rst.StreamID, rst.ErrCode)
			}
			return ok
		})
	}
	long := hpack.HeaderField{Name: "long", Value: strings.Repeat("x", 1<<10)}
	f.head(t, 1, readyMethod, long, long)
	reset(http2.ErrCodeFrameSize, 1)
	for i := range uint32(8) { // none of them ends its message
		f.head(t, 3+2*i, readyMethod)
	}
	reset(http2.ErrCodeRefusedStream, 17)
	if n := len(r.InFlight()); n > 7 {
		t.Errorf("%d calls in flight", n)
	}
	f.c.Close()
	for len(r.InFlight()) > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestOneClientHasItsShareOfConnections(t *testing.T) {
	svc, entered, leave := gate()
	cfg := testConfig()
	cfg.MaxPerClient = 2
	r := start(t, cfg, Deps{}, svc)
	answered := make(chan error, 2)
	for range 2 {
		cc := r.dial(t)
		go func() { answered <- ask(context.Background(), cc) }()
		<-entered
	}
	wantCode(t, ask(within(t, time.Second), r.dial(t)), codes.Unavailable, "")
	close(leave)
	for range 2 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if stats := r.Clients(); stats.Open != 2 || stats.Refused["client_full"] == 0 {
		t.Errorf("%+v", stats)
	}
}

func TestConnectionThatNeverBecomesOneIsClosed(t *testing.T) {
	cfg := testConfig()
	cfg.HandshakeTimeout = 100 * time.Millisecond
	r := start(t, cfg, Deps{}, inference(isReady))
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, err := c.Read(make([]byte, 1024)); err != nil {
			if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Error("still open")
			}
			break
		}
	}
}

// TestCallsThatWaitHoldLittle: what a client may send before its message is asked for stays as it is told first, however
// fast the connection is.
func TestCallsThatWaitHoldLittle(t *testing.T) {
	block := make(chan struct{})
	r := start(t, testConfig(), Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		<-block
		return nil, errors.New("nothing is read")
	}, echoes))
	defer close(block)
	f := dialFrames(t, r.addr)
	window := uint32(streamWindow)
	grew := func(frame http2.Frame) {
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if n, ok := frame.Value(http2.SettingInitialWindowSize); ok && n > window {
				t.Errorf("the window of a call grows to %d", n)
				window = n
			}
		case *http2.WindowUpdateFrame:
			if frame.StreamID != 0 {
				t.Errorf("%d bytes more for call %d", frame.Increment, frame.StreamID)
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		}
	}
	f.until(t, func(frame http2.Frame) bool { grew(frame); return isSettings(frame) })
	f.WriteSettingsAck()
	piece := framed(0, strings.Repeat("x", 1<<20))[:16<<10]
	for i := range uint32(64) { // on and on, so that what adapts has what to adapt to
		f.head(t, 1+2*i, "/test.Texts/Unary")
		for range streamWindow / len(piece) {
			if err := f.WriteData(1+2*i, false, piece); err != nil {
				t.Fatal(err)
			}
		}
		f.WriteSettings()
		f.until(t, func(frame http2.Frame) bool {
			grew(frame)
			settings, ok := frame.(*http2.SettingsFrame)
			return ok && settings.IsAck()
		})
	}
}
