package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestCallComesBackAsItWas(t *testing.T) {
	want := sample()
	frame := want.Append(nil, 7)
	h, err := ParseHeader(frame, uint32(len(frame)))
	if err != nil || h != (Header{TypeCall, 7, uint32(len(frame) - HeaderBytes)}) {
		t.Fatalf("%+v, %v", h, err)
	}
	var got Call
	for range 2 { // the second time into used memory
		if err := got.Parse(frame[HeaderBytes:]); err != nil {
			t.Fatal(err)
		}
		got.arena, want.arena = arena{}, arena{}
		if !reflect.DeepEqual(&got, want) {
			t.Errorf("%+v\ncame back as\n%+v", want, &got)
		}
	}
}

func TestEverythingLiesAtAMultipleOfEight(t *testing.T) {
	frame := sample().Append(nil, 7)
	var c Call
	if err := c.Parse(frame[HeaderBytes:]); err != nil {
		t.Fatal(err)
	}
	for _, in := range c.Inputs {
		at := bytes.Index(frame, in.Name)
		if at += len(in.Name) + Padding(len(in.Name)); at%8 != 0 || !bytes.HasPrefix(frame[at:], in.Data) {
			t.Errorf("data of %s lies at %d", in.Name, at)
		}
	}
	if len(frame)%8 != 0 {
		t.Errorf("the frame has %d bytes", len(frame))
	}
}

// TestLayoutIsThatOfTheDocument: written by hand from docs/worker-protocol.md.
func TestLayoutIsThatOfTheDocument(t *testing.T) {
	c := Call{Timeout: time.Second, Flags: 1, Inputs: []Tensor{{Name: []byte("x"), Datatype: INT16, Shape: []int64{3}, Data: []byte{1, 0, 2, 0, 3, 0}}}}
	c.Trace[0], c.Span[7] = 0xaa, 0xbb
	want := "DGW\x01\x10\x00\x00\x00" + "\x09\x00\x00\x00\x00\x00\x00\x00" + "\x50\x00\x00\x00\x00\x00\x00\x00" +
		"\x40\x42\x0f\x00\x00\x00\x00\x00" + "\xaa" + strings.Repeat("\x00", 15) + strings.Repeat("\x00", 7) + "\xbb" + "\x01\x00\x01\x00\x00\x00\x00\x00" +
		"\x07\x01\x01\x00\x00\x00\x00\x00" + "\x06\x00\x00\x00\x00\x00\x00\x00" + "\x03\x00\x00\x00\x00\x00\x00\x00" + "x\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x02\x00\x03\x00\x00\x00"
	if got := c.Append(nil, 9); string(got) != want {
		t.Errorf("% x\nis not\n% x", got, want)
	}
	f := Failure{Expired, "late"}
	if got, want := string(f.Append(nil, 9)), "DGW\x01\x12\x00\x00\x00"+"\x09\x00\x00\x00\x00\x00\x00\x00"+"\x0c\x00\x00\x00\x00\x00\x00\x00"+"\x02\x00\x00\x00\x00\x00\x00\x00late"; got != want {
		t.Errorf("% x\nis not\n% x", got, want)
	}
}

func TestFrameWrittenInPiecesIsTheSame(t *testing.T) {
	c := sample()
	whole := c.Append(nil, 7)
	body := CallBytes
	for i := range c.Inputs {
		in := &c.Inputs[i]
		body += in.HeadBytes() + len(in.Data) + Padding(len(in.Data))
	}
	pieces := c.AppendHead(nil, 7, body)
	for i := range c.Inputs {
		in := &c.Inputs[i]
		pieces = in.AppendHead(pieces, len(in.Data))
		half := len(in.Data) / 2
		pieces = append(append(pieces, in.Data[:half]...), in.Data[half:]...)
		pieces = AppendPadding(pieces, len(in.Data))
	}
	if !bytes.Equal(whole, pieces) {
		t.Errorf("% x\nis not\n% x", pieces, whole)
	}
}

func TestBrokenCallsAreRefusedWithWhatAndWhere(t *testing.T) {
	for _, edit := range hostile {
		body := sample().Append(nil, 7)[HeaderBytes:]
		edit.do(body)
		var c Call
		if err := c.Parse(body); !errors.Is(err, ErrBreach) || !strings.Contains(err.Error(), edit.want) {
			t.Errorf("%s: %v; %q was expected", edit.name, err, edit.want)
		}
	}
	body := sample().Append(nil, 7)[HeaderBytes:]
	for n := range body {
		var c Call
		if err := c.Parse(body[:n:n]); !errors.Is(err, ErrBreach) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func TestNamesThatAreThereTwiceAreRefused(t *testing.T) {
	for _, n := range []int{2, 16, 17, MaxTensors} {
		var a Answer
		for i := range n {
			a.Outputs = append(a.Outputs, Tensor{Name: fmt.Appendf(nil, "t%d", i), Datatype: BOOL, Shape: []int64{0}})
		}
		var got Answer
		if err := got.Parse(a.Append(nil, 1)[HeaderBytes:]); err != nil || len(got.Outputs) != n {
			t.Errorf("%d: %v", n, err)
		}
		a.Outputs[n-1].Name = a.Outputs[0].Name
		want := fmt.Sprintf("tensors 0 and %d are both called", n-1)
		if err := got.Parse(a.Append(nil, 1)[HeaderBytes:]); !errors.Is(err, ErrBreach) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestBrokenHeadersAreRefused(t *testing.T) {
	for _, test := range []struct {
		do   func(b []byte)
		want string
	}{
		{func(b []byte) { copy(b, "HTTP") }, "header at byte 0: begins with 48 54 54 50"},
		{func(b []byte) { b[3] = 2 }, "header at byte 0"},
		{func(b []byte) { b[4] = 0 }, "header at byte 4: type 0 is none"},
		{func(b []byte) { b[4] = 8 }, "header at byte 4: type 8 is none"},
		{func(b []byte) { b[4] = 19 }, "header at byte 4: type 19 is none"},
		{func(b []byte) { b[7] = 1 }, "header at byte 5: reserved"},
		{func(b []byte) { b[16] = 101 }, "header at byte 16: CALL has a body of 101 bytes; at most 100"},
		{func(b []byte) { b[20] = 1 }, "header at byte 20: reserved"},
	} {
		b := AppendHeader(nil, Header{Type: TypeCall, ID: 1, Length: 100})
		test.do(b)
		if _, err := ParseHeader(b, 100); !errors.Is(err, ErrBreach) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v; %q was expected", err, test.want)
		}
	}
}

func TestTimeThatIsSetIsNeverNone(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Microsecond, -time.Hour: time.Microsecond, 1999: time.Microsecond, time.Hour: time.Hour,
		math.MaxInt64: math.MaxInt64 / 1000 * 1000,
	} {
		var c Call
		if err := c.Parse((&Call{Timeout: timeout}).Append(nil, 1)[HeaderBytes:]); err != nil || c.Timeout != want {
			t.Errorf("%v: %v, %v", timeout, c.Timeout, err)
		}
	}
}

func TestFailuresTellTheirCode(t *testing.T) {
	long := Failf(Failed, "%s", strings.Repeat("é", 3000)+"\xff")
	var got Failure
	if err := got.Parse(long.Append(nil, 1)[HeaderBytes:]); err != nil || got.Message != strings.Repeat("é", maxMessage/2) {
		t.Errorf("%d bytes, %v", len(got.Message), err)
	}
	var err error = fmt.Errorf("lane 3: %w", Failf(Expired, "late"))
	if !errors.Is(err, Expired) || errors.Is(err, Cancelled) || err.Error() != "lane 3: expired: late" {
		t.Error(err)
	}
	for _, body := range []string{"", "\x01", "\x00\x00\x00\x00\x00\x00\x00\x00", "\x08\x00\x00\x00\x00\x00\x00\x00", "\x01\x00\x00\x00\x00\x00\x00\x01", "\x01\x00\x00\x00\x00\x00\x00\x00\xff", "\x01\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", maxMessage+1)} {
		if err := got.Parse([]byte(body)); !errors.Is(err, ErrBreach) {
			t.Errorf("%.10q: %v", body, err)
		}
	}
}

func TestControlMessages(t *testing.T) {
	want := Loaded{Inputs: []Spec{{"image", FP32, []int64{-1, 64}}}, Outputs: []Spec{{"p", BF16, []int64{-1, 10}}}, Parallel: true}
	frame, err := AppendControl(nil, TypeLoaded, 3, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got Loaded
	if err := ParseControl(TypeLoaded, frame[HeaderBytes:], &got); err != nil || !reflect.DeepEqual(got, want) || got.Check() != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, body := range []string{"", " ", "null", "[]", "3", `{"inputs":3}`, `{"inputs":[{"datatype":"fp32"}]}`, `{} {}`, `{`} {
		if err := ParseControl(TypeLoaded, []byte(body), new(Loaded)); !errors.Is(err, ErrBreach) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if err := ParseControl(TypeHello, []byte(` {"lanes":2,"later":{"x":1}}`), new(Hello)); err != nil {
		t.Errorf("a member of a later version: %v", err)
	}
	if err := ParseControl(TypeHello, bytes.Repeat([]byte(" "), MaxControlBytes+1), new(Hello)); !errors.Is(err, ErrBreach) {
		t.Error(err)
	}
	if _, err := AppendControl(nil, TypeLoad, 1, Load{Model: strings.Repeat("x", MaxControlBytes)}); err == nil {
		t.Error("a message that no one may read was written")
	}
}

func TestLoadedIsHeldAgainstItsBounds(t *testing.T) {
	bad := Loaded{
		Inputs: []Spec{{"", FP32, nil}, {"a", 0, []int64{-2}}, {"a", FP32, make([]int64, 9)}, {"b", FP32, []int64{1 << 60, 1 << 60}}},
	}
	err := bad.Check()
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, want := range []string{"inputs[0]: name", "inputs[1]: datatype 0", "inputs[1]: dimensions [-2]", `inputs[2]: name "a" is there twice`, "inputs[2]: 9 dimensions", "inputs[3]: dimensions", "outputs: there must be"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told by\n%v", want, err)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		ours, theirs []int
		want         int
		ok           bool
	}{{[]int{1}, []int{1}, 1, true}, {[]int{1}, []int{2, 1}, 1, true}, {[]int{2, 1}, []int{1, 2, 3}, 2, true}, {[]int{1}, []int{2, 3}, 0, false}, {[]int{1}, nil, 0, false}} {
		if got, ok := Choose(test.ours, test.theirs); got != test.want || ok != test.ok {
			t.Errorf("%v and %v: %d, %v", test.ours, test.theirs, got, ok)
		}
	}
}

func TestReaderReadsWholeFramesAndNotAByteMore(t *testing.T) {
	big := (&Call{Inputs: []Tensor{{Name: []byte("x"), Datatype: UINT8, Shape: []int64{3 << 20}, Data: make([]byte, 3<<20)}}}).Append(nil, 1)
	stream := AppendHeader(nil, Header{Type: TypePing, ID: 4})
	stream = append(stream, big...)
	stream = sample().Append(stream, 2)
	for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.DataErrReader} {
		r := Reader{R: wrap(bytes.NewReader(stream)), Max: 4 << 20}
		for _, want := range []Header{{TypePing, 4, 0}, {TypeCall, 1, uint32(len(big) - HeaderBytes)}, {TypeCall, 2, uint32(sample().BodyBytes())}} {
			h, body, err := r.Next()
			if err != nil || h != want || len(body) != int(h.Length) {
				t.Fatalf("%+v, %d, %v", h, len(body), err)
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Error(err)
		}
	}
	for _, n := range []int{1, HeaderBytes - 1, HeaderBytes + 1, len(big) - 1} {
		r := Reader{R: bytes.NewReader(big[:n]), Max: 4 << 20}
		if _, _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	r := Reader{R: bytes.NewReader(big), Max: 1 << 20}
	if _, _, err := r.Next(); !errors.Is(err, ErrBreach) {
		t.Error(err)
	}
}

func TestFrameThatClaimsMoreThanItHasTakesLittleMemory(t *testing.T) {
	r := Reader{R: bytes.NewReader(AppendHeader(nil, Header{Type: TypeCall, Length: 64 << 20})), Max: 64 << 20}
	if _, _, err := r.Next(); err != io.ErrUnexpectedEOF || cap(r.frame) > 2*stepBytes {
		t.Errorf("%v, %d bytes", err, cap(r.frame))
	}
}

func TestElements(t *testing.T) {
	for _, test := range []struct {
		shape []int64
		want  int64
		ok    bool
	}{{nil, 1, true}, {[]int64{3, 4}, 12, true}, {[]int64{0, 1 << 50}, 0, true}, {[]int64{1 << 40, 1 << 40, 0}, 0, false}, {[]int64{-1}, 0, false}, {[]int64{math.MaxInt64}, 0, false}, {[]int64{1 << 58}, 1 << 58, true}} {
		if got, ok := Elements(test.shape); got != test.want || ok != test.ok {
			t.Errorf("%v: %d, %v", test.shape, got, ok)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	call, answer := sample(), sampleAnswer()
	var c Call
	var a Answer
	buf := make([]byte, 0, 4<<10)
	stream := bytes.NewReader(call.Append(nil, 1))
	r := Reader{R: stream, Max: 1 << 20}
	for name, work := range map[string]func(){
		"call":   func() { _ = c.Parse(call.Append(buf[:0], 1)[HeaderBytes:]) },
		"answer": func() { _ = a.Parse(answer.Append(buf[:0], 1)[HeaderBytes:]) },
		"read":   func() { _, _ = stream.Seek(0, io.SeekStart); _, _, _ = r.Next() },
	} {
		if n := testing.AllocsPerRun(100, work); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	call := &Call{Timeout: time.Second, Inputs: []Tensor{{Name: []byte("image"), Datatype: FP32, Shape: []int64{1, 64}, Data: make([]byte, 256)}}}
	buf := make([]byte, 0, 4<<10)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			call.Append(buf[:0], 1)
		}
	})
	body := call.Append(nil, 1)[HeaderBytes:]
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		var c Call
		for b.Loop() {
			if err := c.Parse(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func ExampleCall() {
	pixels := binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.5))
	call := Call{Timeout: time.Second, Inputs: []Tensor{{Name: []byte("image"), Datatype: FP32, Shape: []int64{1, 1}, Data: pixels}}}
	frame := call.Append(nil, 7)

	var got Call
	header, _ := ParseHeader(frame, 1<<20)
	err := got.Parse(frame[HeaderBytes:])
	fmt.Println(header.Type, header.ID, got.Timeout, string(got.Inputs[0].Name), got.Inputs[0].Shape, err)
	// Output: CALL 7 1s image [1 1] <nil>
}
