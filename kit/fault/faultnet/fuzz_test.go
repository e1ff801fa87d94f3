package faultnet

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// tape is a connection of which reads give what is left of one slice, and writes add to another.
type tape struct {
	net.Conn
	gives, taken []byte
	closed       bool
}

func (p *tape) Read(b []byte) (int, error) {
	n := copy(b, p.gives)
	p.gives = p.gives[n:]
	return n, nil
}

func (p *tape) Write(b []byte) (int, error) {
	p.taken = append(p.taken, b...)
	return len(b), nil
}

func (p *tape) Close() error       { p.closed = true; return nil }
func (*tape) LocalAddr() net.Addr  { return asked{"tape", "near"} }
func (*tape) RemoteAddr() net.Addr { return asked{"tape", "far"} }

// FuzzEachCallIsDamagedFromItsFirstByte reads and writes in pieces: the offsets of rules count from the first byte of
// each, and the first that is cut is the last.
func FuzzEachCallIsDamagedFromItsFirstByte(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), int64(1), int64(2), int64(7), []byte{3, 8, 1})
	f.Add([]byte("0123456789abcdef"), int64(0), int64(1<<62), int64(1<<62), []byte{})
	f.Add([]byte("0123456789abcdef"), int64(1<<62), int64(1<<62), int64(0), []byte{0, 4})
	f.Fuzz(func(t *testing.T, content []byte, offset, length, cut int64, pieces []byte) {
		if offset < 0 || length <= 0 || cut < 0 {
			return
		}
		set := faulttest.New(t)
		faulttest.Put(t, set, fault.Rule{Point: "*", Corrupt: &fault.Corrupt{Offset: &offset, Length: length, Mode: fault.Flipped}})
		faulttest.Put(t, set, fault.Rule{ID: "cut", Point: "*", Truncate: &fault.Truncate{After: cut}})
		mine := slices.Clone(content)
		near := &tape{gives: slices.Clone(content)}
		c := Conn(near, Points{Read: set.Point(reading), Write: set.Point(writing)})

		size := func(i, most int) int {
			if i >= len(pieces) {
				return most
			}
			return min(most, int(pieces[i]))
		}
		var wrote, want []byte
		severed := false
		for i, rest := 0, mine; len(rest) > 0 && !severed; i++ {
			piece := rest[:size(i, len(rest))]
			rest = rest[len(piece):]
			damaged := slices.Clone(piece)
			for j := range damaged {
				if at := int64(j); at >= offset && at-offset < length {
					damaged[j] = ^damaged[j]
				}
			}
			damaged = damaged[:min(cut, int64(len(damaged)))]
			severed = len(damaged) < len(piece)
			want = append(want, damaged...)
			n, err := c.Write(piece)
			wrote = near.taken
			if n != len(damaged) || (err != nil) != severed || severed && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("wrote %d of %d, %v; not %d", n, len(piece), err, len(damaged))
			}
		}
		if !bytes.Equal(wrote, want) || near.closed != severed || !bytes.Equal(mine, content) {
			t.Fatalf("wrote %q, not %q; closed: %v", wrote, want, near.closed)
		}

		near = &tape{gives: slices.Clone(content)}
		c = Conn(near, Points{Read: set.Point(reading)})
		var read []byte
		var err error
		for i := 0; len(near.gives) > 0 && err == nil && !near.closed; i++ {
			piece := make([]byte, size(i, len(content)))
			var n int
			n, err = c.Read(piece)
			read = append(read, piece[:n]...)
		}
		if !bytes.Equal(read, want) || near.closed != severed {
			t.Fatalf("read %q, %v, not %q; closed: %v", read, err, want, near.closed)
		}
	})
}
