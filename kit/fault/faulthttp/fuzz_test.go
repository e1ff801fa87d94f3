package faulthttp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// FuzzDamagedAnswerIsTheSameInAnyPieces damages an answer on the client and on the server, read and written in pieces
// of any size: what arrives is what one damage of the whole would leave.
func FuzzDamagedAnswerIsTheSameInAnyPieces(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), int64(3), int64(4), int64(10), []byte{1, 7, 3})
	f.Add([]byte("0123456789abcdef"), int64(0), int64(1<<62), int64(16), []byte{})
	f.Add([]byte{}, int64(1<<62), int64(1<<62), int64(0), []byte{0, 0})
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

		damage, err := set.Point(bank).Damage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := &body{ReadCloser: io.NopCloser(bytes.NewReader(content)), ctx: t.Context(), damage: damage}
		var got []byte
		for i := 0; err == nil; i++ {
			piece := make([]byte, size(i, 512))
			var n int
			n, err = b.Read(piece)
			got = append(got, piece[:n]...)
		}
		wanted := io.EOF
		if len(want) < len(content) {
			wanted = io.ErrUnexpectedEOF
		}
		if !bytes.Equal(got, want) || err != wanted {
			t.Fatalf("read %q, %v, not %q, %v", got, err, want, wanted)
		}

		mine := slices.Clone(content)
		w := httptest.NewRecorder()
		h := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i, rest := 0, mine; len(rest) > 0; i++ {
				n, err := w.Write(rest[:size(i, len(rest))])
				if err != nil {
					t.Error(err)
				}
				rest = rest[n:]
			}
		}), Points{Exchange: set.Point(shop)})
		aborted := aborts(t, func() { h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)) })
		if !bytes.Equal(w.Body.Bytes(), want) || aborted != (len(want) < len(content)) || !bytes.Equal(mine, content) {
			t.Fatalf("wrote %q (aborted: %v), not %q", w.Body, aborted, want)
		}
	})
}

func aborts(t *testing.T, f func()) (aborted bool) {
	defer func() {
		if v := recover(); v != nil {
			err, _ := v.(error)
			if aborted = errors.Is(err, http.ErrAbortHandler); !aborted {
				t.Errorf("panicked with %v", v)
			}
		}
	}()
	f()
	return false
}
