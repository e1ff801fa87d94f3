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
