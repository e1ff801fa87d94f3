package pool

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestClassesWasteLessThanAQuarter(t *testing.T) {
	for _, smallest := range []int{16, 512, 4096} {
		c := newClasses(smallest, 1<<20)
		if got := c.size(c.count - 1); got != 1<<20 {
			t.Fatalf("the greatest is %d", got)
		}
		before := -1
		for n := range 1<<20 + 1 {
			above, below := c.above(n), c.below(n)
			size := c.size(above)
			if size < n || n > smallest && size*4 >= n*5 || above < before || above >= c.count {
				t.Fatalf("%d bytes get %d, class %d after %d", n, size, above, before)
			}
			if n < smallest != (below < 0) || below >= 0 && (c.size(below) > n || c.size(below+1) <= n) {
				t.Fatalf("%d bytes go back to class %d", n, below)
			}
			before = above
		}
	}
	for greatest, want := range map[int]int{512: 512, 513: 640, 1000: 1024, 1025: 1280} {
		if c := newClasses(512, greatest); c.size(c.count-1) != want {
			t.Errorf("sizes up to %d end with %d", greatest, c.size(c.count-1))
		}
	}
}

func TestBufferHasRoomForWhatWasAskedFor(t *testing.T) {
	b := newBuffers(t, DefaultBuffersConfig())
	for _, n := range []int{-1, 0, 1, 512, 513, 5000, 1 << 20, 1<<20 + 1, 3 << 20} {
		buf := b.Get(n)
		if got := cap(buf.Bytes()); got < n || len(buf.Bytes()) != 0 {
			t.Errorf("%d bytes asked for: %d of %d", n, len(buf.Bytes()), got)
		}
		buf.Release()
	}
	s := b.Snapshot()
	wantSum(t, s, DefaultBuffersConfig().MaxBytes)
	if s.Discarded != 2 {
		t.Errorf("two are larger than what is kept, %d were dropped", s.Discarded)
	}
}

// TestGrownBufferGoesToTheClassOfWhatItIs grows a buffer in both ways, and asks for one of its new size.
func TestGrownBufferGoesToTheClassOfWhatItIs(t *testing.T) {
	for name, grow := range map[string]func(Buffer){
		"Grow":     func(b Buffer) { b.Grow(10_000) },
		"Write":    func(b Buffer) { b.Write(make([]byte, 10_000)) },
		"SetBytes": func(b Buffer) { b.SetBytes(slices.Grow(b.Bytes(), 10_240)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuffers(t, DefaultBuffersConfig())
			buf := b.Get(600)
			grow(buf)
			at := &buf.Bytes()[:1][0]
			buf.Release()
			if racing || debugging {
				t.Skip("what is got next is not what was released last")
			}
			again := b.Get(10_000)
			if &again.Bytes()[:1][0] != at {
				t.Error("the memory is not where its size belongs")
			}
			if name != "SetBytes" && b.Get(600).Bytes() == nil {
				t.Error("no small one")
			}
			if s := b.Snapshot(); name != "SetBytes" && s.News != 2 {
				t.Errorf("what was outgrown is not used again: %+v", s)
			}
		})
	}
}

func TestGrowKeepsWhatThereIs(t *testing.T) {
	b := newBuffers(t, DefaultBuffersConfig())
	buf := b.Get(0)
	defer buf.Release()
	var want []byte
	for i := range 5000 {
		piece := bytes.Repeat([]byte{byte(i)}, i%7)
		buf.Write(piece)
		want = append(want, piece...)
	}
	if !bytes.Equal(buf.Bytes(), want) {
		t.Error("what was written is not what there is")
	}
	if n := b.Snapshot().Gets; n > 12 {
		t.Errorf("%d bytes in small steps were copied %d times", len(want), n-1)
	}
}

// TestBufferIsWrittenToItself: what it outgrows is nobody else's before it has been written. With -tags
// dougong_pooldebug it would be poison by then.
func TestBufferIsWrittenToItself(t *testing.T) {
	for name, write := range map[string]func(Buffer, []byte){
		"Write":  func(b Buffer, p []byte) { b.Write(p) },
		"Writer": func(b Buffer, p []byte) { b.Writer().Write(p) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuffers(t, DefaultBuffersConfig())
			buf := b.Get(0)
			buf.Write([]byte("ab"))
			for range 14 {
				write(buf, buf.Bytes())
			}
			write(buf, buf.Bytes()[1:])
			twice := strings.Repeat("ab", 1<<14)
			if string(buf.Bytes()) != twice+twice[1:] {
				t.Errorf("%d bytes, not all of them as they were written", len(buf.Bytes()))
			}
			buf.Release()
			if s := b.Snapshot(); s.InUse != 0 {
				t.Errorf("what it outgrew is not given back: %+v", s)
			}
		})
	}
}

// TestGrowthBeyondAnyMemoryPanics, and the buffer stays as it is.
func TestGrowthBeyondAnyMemoryPanics(t *testing.T) {
	b := newBuffers(t, DefaultBuffersConfig())
	buf := b.Get(100)
	buf.Write([]byte("what there is"))
	for _, n := range []int{math.MaxInt, math.MaxInt - len("what there is") + 1} {
		wantMisuse(t, fmt.Sprintf("holds 13 bytes was asked for room for %d more", n), func() { buf.Grow(n) })
	}
	for _, n := range []int{math.MaxInt - len("what there is"), math.MaxInt / 2} { // an int, but no memory
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("grown by %d", n)
				}
			}()
			buf.Grow(n)
		}()
	}
	if string(buf.Bytes()) != "what there is" {
		t.Errorf("%q", buf.Bytes())
	}
	buf.Grow(-1)
	buf.Release()
	s := b.Snapshot()
	wantSum(t, s, DefaultBuffersConfig().MaxBytes)
	if s.Gets != 1 || s.News != 1 {
		t.Errorf("buffers that could not be made are counted: %+v", s)
	}
}

// TestForeignMemoryIsKeptByItsSizeOrNot: SetBytes takes any slice.
func TestForeignMemoryIsKeptByItsSizeOrNot(t *testing.T) {
	b := newBuffers(t, BuffersConfig{MinSize: 512, MaxSize: 4096, MaxBytes: 10_000})
	for _, p := range [][]byte{nil, make([]byte, 10), make([]byte, 5000)} {
		buf := b.Get(1)
		buf.SetBytes(p)
		buf.Release()
	}
	if s := b.Snapshot(); s.Discarded != 3 || s.Kept != 0 {
		t.Errorf("%+v", s)
	}
	buf := b.Get(1)
	buf.SetBytes(make([]byte, 700)) // 640 and a little
	buf.Release()
	if s := b.Snapshot(); !racing && (s.Kept != 1 || s.Bytes != 700) {
		t.Errorf("%+v", s)
	}
	if got := cap(b.Get(640).Bytes()); got != 700 && !racing && !debugging {
		t.Errorf("of %d bytes", got)
	}
}
