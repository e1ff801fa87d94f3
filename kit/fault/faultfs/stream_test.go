package faultfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

var flowing = fault.Def{Name: "f.stream", Doc: "Bytes flow.", Attrs: []string{"kind"}, Effects: fault.Bytes}

const text = "0123456789abcdef"

func TestStreamWithoutPointIsTheStream(t *testing.T) {
	var b bytes.Buffer
	if Reader(t.Context(), &b, nil) != io.Reader(&b) || Writer(t.Context(), &b, nil) != io.Writer(&b) {
		t.Error("it is another")
	}
}

func TestReaderDamagesTheStreamOnce(t *testing.T) {
	for name, test := range map[string]struct {
		rule fault.Rule
		want string
	}{
		"dropped":   {fault.Rule{Drop: &fault.Drop{}}, ""},
		"truncated": {fault.Rule{Truncate: &fault.Truncate{After: 5}}, text[:5]},
		"zeroed":    {fault.Rule{Corrupt: &fault.Corrupt{Offset: new(int64(5)), Length: 2, Mode: fault.Zeroed}}, "01234\x00\x00789abcdef"},
		"skipped":   {fault.Rule{Skip: 1, Truncate: &fault.Truncate{After: 5}}, text},
	} {
		t.Run(name, func(t *testing.T) {
			for _, whole := range []bool{true, false} {
				set := faulttest.New(t)
				test.rule.Point = "f.stream"
				faulttest.Put(t, set, test.rule)
				var inner io.Reader = strings.NewReader(text)
				if !whole {
					inner = iotest.OneByteReader(inner)
				}
				if got, err := io.ReadAll(Reader(t.Context(), inner, set.Point(flowing))); string(got) != test.want || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
}

func TestWriterDamagesTheStreamOnce(t *testing.T) {
	for name, test := range map[string]struct {
		rule fault.Rule
		want string
		err  error
	}{
		"dropped":   {fault.Rule{Drop: &fault.Drop{}}, "", nil},
		"truncated": {fault.Rule{Truncate: &fault.Truncate{After: 5}}, text[:5], io.ErrShortWrite},
		"zeroed":    {fault.Rule{Corrupt: &fault.Corrupt{Offset: new(int64(5)), Length: 2, Mode: fault.Zeroed}}, "01234\x00\x00789abcdef", nil},
	} {
		t.Run(name, func(t *testing.T) {
			set := faulttest.New(t)
			test.rule.Point = "f.stream"
			faulttest.Put(t, set, test.rule)
			var got bytes.Buffer
			var err error
			w := Writer(t.Context(), &got, set.Point(flowing))
			for part := range slices.Chunk([]byte(text), 3) {
				if _, err = w.Write(part); err != nil {
					break
				}
			}
			if got.String() != test.want || !errors.Is(err, test.err) {
				t.Errorf("%q, %v", got.String(), err)
			}
		})
	}
}

func TestStreamFailsAndIsHeldAtEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		faulttest.Put(t, set, fault.Rule{Point: "f.stream", Where: map[string]string{"kind": "log"}, Delay: &fault.Delay{Fixed: time.Second}})
		ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
		defer cancel()
		began := time.Now()
		got, err := io.ReadAll(Reader(ctx, iotest.OneByteReader(strings.NewReader(text)), set.Point(flowing), fault.Attr{Key: "kind", Value: "log"}))
		if string(got) != text[:4] || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 4500*time.Millisecond {
			t.Errorf("%q, %v, %v", got, err, time.Since(began))
		}
		faulttest.Put(t, set, fault.Rule{Point: "f.stream", Error: &fault.Failure{Cause: "no_space"}})
		if _, err := Writer(t.Context(), io.Discard, set.Point(flowing)).Write([]byte("x")); !errors.Is(err, fault.ErrInjected) {
			t.Error(err)
		}
	})
}

// TestStreamGoesOnWhenTheRuleEnds: what was lost is lost, and no more.
func TestStreamGoesOnWhenTheRuleEnds(t *testing.T) {
	for name, test := range map[string]struct {
		rule        fault.Rule
		read, wrote string
	}{
		"dropped":   {fault.Rule{Drop: &fault.Drop{}}, text, text[8:]},
		"truncated": {fault.Rule{Truncate: &fault.Truncate{After: 5}}, text, text[:5] + text[8:]},
		"zeroed":    {fault.Rule{Corrupt: &fault.Corrupt{Offset: new(int64(5)), Length: 6, Mode: fault.Zeroed}}, "01234\x00\x00\x0089abcdef", "01234\x00\x00\x0089abcdef"},
	} {
		t.Run(name, func(t *testing.T) {
			test.rule.Point, test.rule.Count = "f.stream", 1
			set := faulttest.New(t)
			faulttest.Put(t, set, test.rule)
			r := Reader(t.Context(), strings.NewReader(text), set.Point(flowing))
			before, err := io.ReadAll(io.LimitReader(r, 8))
			if err != nil {
				t.Error(err)
			}
			faulttest.Clear(t, set)
			if after, err := io.ReadAll(r); string(before)+string(after) != test.read || err != nil {
				t.Errorf("read %q and %q, %v", before, after, err)
			}

			faulttest.Put(t, set, test.rule)
			var got bytes.Buffer
			w := Writer(t.Context(), &got, set.Point(flowing))
			_, _ = w.Write([]byte(text[:8]))
			faulttest.Clear(t, set)
			for i := 8; i < len(text); i++ {
				if n, err := w.Write([]byte{text[i]}); n != 1 || err != nil {
					t.Error(n, err)
				}
			}
			if got.String() != test.wrote {
				t.Errorf("wrote %q", got.String())
			}
		})
	}
}

func TestBytesOfADroppedStreamCount(t *testing.T) {
	set := faulttest.New(t)
	faulttest.Put(t, set, fault.Rule{ID: "zero", Point: "f.stream", Corrupt: &fault.Corrupt{Offset: new(int64(9)), Length: 2, Mode: fault.Zeroed}})
	faulttest.Put(t, set, fault.Rule{ID: "drop", Point: "f.stream", Drop: &fault.Drop{}})
	var got bytes.Buffer
	w := Writer(t.Context(), &got, set.Point(flowing))
	_, _ = w.Write([]byte(text[:8]))
	if err := set.Remove(fault.Admin, "drop"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text[8:])); got.String() != "8\x00\x00bcdef" || err != nil {
		t.Errorf("%q, %v", got.String(), err)
	}
}

func TestPanicAtAStreamIsAnError(t *testing.T) {
	set := faulttest.New(t)
	faulttest.Put(t, set, fault.Rule{Point: "f.stream", Panic: &fault.Panicking{}})
	if _, err := Reader(t.Context(), strings.NewReader(text), set.Point(flowing)).Read(make([]byte, 1)); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	if _, err := Writer(t.Context(), io.Discard, set.Point(flowing)).Write([]byte("x")); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
}

// FuzzDamagedStreamIsTheSameInAnyPieces reads and writes a damaged stream in pieces of any size: what passes is what
// one damage of the whole would leave.
func FuzzDamagedStreamIsTheSameInAnyPieces(f *testing.F) {
	f.Add([]byte(text), int64(3), int64(4), int64(10), []byte{1, 7, 3})
	f.Add([]byte(text), int64(0), int64(1<<62), int64(1<<62), []byte{16})
	f.Add([]byte(text), int64(1<<62), int64(1<<62), int64(0), []byte{0, 0})
	f.Fuzz(func(t *testing.T, content []byte, offset, length, cut int64, pieces []byte) {
		if offset < 0 || length <= 0 || cut < 0 {
			return
		}
		set := faulttest.New(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Corrupt: &fault.Corrupt{Offset: &offset, Length: length, Mode: fault.Flipped}})
		faulttest.Put(t, set, fault.Rule{ID: "cut", Point: "*", Truncate: &fault.Truncate{After: cut}})
		want := slices.Clone(content)
		for i := range want {
			if at := int64(i); at >= offset && at-offset < length {
				want[i] = ^want[i]
			}
		}
		want = want[:min(cut, int64(len(want)))]
		size := func(i, most int) int {
			if i >= len(pieces) {
				return most
			}
			return min(most, int(pieces[i]))
		}

		r := Reader(t.Context(), bytes.NewReader(content), set.Point(flowing))
		var read []byte
		var err error
		for i := 0; err == nil; i++ {
			piece := make([]byte, size(i, 512))
			var n int
			n, err = r.Read(piece)
			read = append(read, piece[:n]...)
		}
		if !bytes.Equal(read, want) || err != io.EOF {
			t.Fatalf("read %q, %v, not %q", read, err, want)
		}

		var wrote bytes.Buffer
		w := Writer(t.Context(), &wrote, set.Point(flowing))
		mine, took := slices.Clone(content), 0
		err = nil
		for i := 0; took < len(mine) && err == nil; i++ {
			piece := mine[took:][:size(i, len(mine)-took)]
			var n int
			n, err = w.Write(piece)
			took += n
		}
		short := len(want) < len(content)
		if !bytes.Equal(wrote.Bytes(), want) || took != len(want) || errors.Is(err, io.ErrShortWrite) != short || !bytes.Equal(mine, content) {
			t.Fatalf("wrote %q (%d), %v, not %q", wrote.Bytes(), took, err, want)
		}
	})
}
