package pool

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// held is a buffer and what it must hold.
type held struct {
	buffer Buffer
	want   []byte
}

// holder leases buffers, does random things with them, and checks that they are nobody else's.
type holder struct {
	pool     *Buffers
	rnd      *rand.Rand
	has      []held
	released []Buffer
}

func (h *holder) step(t *testing.T) {
	upTo := func() int { return h.rnd.IntN(1 << h.rnd.IntN(14)) }
	text := func() []byte { return bytes.Repeat([]byte{byte(h.rnd.Uint32())}, upTo()) }
	if len(h.has) == 0 || len(h.has) < 8 && h.rnd.IntN(3) == 0 {
		n := upTo()
		b := h.pool.Get(n)
		if len(b.Bytes()) != 0 || cap(b.Bytes()) < n {
			t.Errorf("asked for %d, got %d of %d", n, len(b.Bytes()), cap(b.Bytes()))
		}
		h.has = append(h.has, held{buffer: b})
		return
	}
	i := h.rnd.IntN(len(h.has))
	it := &h.has[i]
	if !bytes.Equal(it.buffer.Bytes(), it.want) {
		t.Errorf("a buffer holds what was not put into it")
	}
	switch p := text(); h.rnd.IntN(8) {
	case 5: // of what it holds
		own := it.buffer.Bytes()
		if len(own) > 10_000 {
			own = own[:0]
		}
		from := h.rnd.IntN(len(own) + 1)
		own = own[from : from+h.rnd.IntN(len(own)-from+1)]
		it.buffer.Write(own)
		it.want = append(it.want, it.want[from:from+len(own)]...)
	case 0:
		it.buffer.Write(p)
		it.want = append(it.want, p...)
	case 1:
		it.buffer.Writer().Write(p)
		it.want = append(it.want, p...)
	case 2:
		it.buffer.SetBytes(append(it.buffer.Bytes(), p...))
		it.want = append(it.want, p...)
	case 3:
		it.buffer.SetBytes(p)
		it.want = bytes.Clone(p)
	case 4:
		n := upTo()
		it.buffer.Grow(n)
		if b := it.buffer.Bytes(); cap(b)-len(b) < n {
			t.Errorf("grown by %d, there is room for %d", n, cap(b)-len(b))
		}
	default:
		it.buffer.Release()
		h.released = append(h.released, it.buffer)
		h.has[i] = h.has[len(h.has)-1]
		h.has = h.has[:len(h.has)-1]
	}
	if n := len(h.released); n > 0 && h.rnd.IntN(10) == 0 {
		stale := h.released[h.rnd.IntN(n)]
		wantMisuse(t, "released", stale.Release)
		wantMisuse(t, "released", func() { stale.Write([]byte("x")) })
	}
}

func randomBuffers(t *testing.T, rnd *rand.Rand) (*Buffers, int64) {
	c := BuffersConfig{MinSize: 16 << rnd.IntN(6), MaxBytes: 1 + rnd.Int64N(100_000)}
	c.MaxSize = c.MinSize + rnd.IntN(8192)
	return newBuffers(t, c), c.MaxBytes
}

func TestRandomBuffersAreNeverShared(t *testing.T) {
	seeded.Each(t, 30, func(t *testing.T, rnd *rand.Rand) {
		pool, most := randomBuffers(t, rnd)
		h := &holder{pool: pool, rnd: rnd}
		for i := range 2000 {
			h.step(t)
			if i%100 == 0 {
				if s := pool.Snapshot(); s.InUse != len(h.has) {
					t.Errorf("%d are out: %+v", len(h.has), s)
				}
				wantRoom(t, pool.ledger)
				wantSum(t, pool.Snapshot(), most)
			}
			if rnd.IntN(500) == 0 {
				runtime.GC()
			}
		}
	})
}

// wantRoom checks that what is taken of the room is what the values that belong to the pool have.
func wantRoom(t *testing.T, l *ledger) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum int64
	for _, c := range l.cells {
		sum += max(0, c.bytes.Load())
	}
	if room := l.room.Load(); room > sum || room > l.maxBytes {
		t.Errorf("%d bytes of %d are taken, %d by values", room, l.maxBytes, sum)
	}
}

func TestRacesShareNoBuffer(t *testing.T) {
	seeded.Each(t, 5, func(t *testing.T, rnd *rand.Rand) {
		pool, most := randomBuffers(t, rnd)
		var workers, watcher sync.WaitGroup
		var holders []*holder
		for range 8 {
			h := &holder{pool: pool, rnd: rand.New(rand.NewPCG(rnd.Uint64(), 0))}
			holders = append(holders, h)
			workers.Go(func() {
				for range 1000 {
					h.step(t)
				}
			})
		}
		done := make(chan struct{})
		watcher.Go(func() {
			var last Stats
			for {
				s := pool.Snapshot()
				if s.Gets < last.Gets || s.Puts < last.Puts || s.News < last.News {
					t.Errorf("%+v after %+v", s, last)
				}
				last = s
				select {
				case <-done:
					return
				default:
					runtime.Gosched()
				}
			}
		})
		workers.Wait()
		close(done)
		watcher.Wait()
		out := 0
		for _, h := range holders {
			out += len(h.has)
		}
		s := pool.Snapshot()
		wantSum(t, s, most)
		if s.InUse != out || s.Leaked != 0 {
			t.Errorf("%d are out: %+v", out, s)
		}
		runtime.KeepAlive(holders)
	})
}

// TestRacesShareNoValue does the same with values.
func TestRacesShareNoValue(t *testing.T) {
	seeded.Each(t, 5, func(t *testing.T, rnd *rand.Rand) {
		most := 1 + rnd.Int64N(10_000)
		p := newPool(t, Config{MaxBytes: most, MaxValueBytes: 1 + rnd.Int64N(1000)})
		var workers sync.WaitGroup
		for worker := range 8 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			workers.Go(func() {
				for range 2000 {
					l := p.Get()
					v := l.Value()
					if len(v.numbers) > 0 {
						t.Errorf("not reset: %v", v.numbers)
					}
					for range own.IntN(50) {
						v.numbers = append(v.numbers, float64(worker))
					}
					runtime.Gosched()
					for _, x := range l.Value().numbers {
						if x != float64(worker) {
							t.Errorf("%v in the value of %d", x, worker)
						}
					}
					l.Release()
				}
			})
		}
		workers.Wait()
		s := p.Snapshot()
		wantSum(t, s, most)
		if s.InUse != 0 || s.Gets != 16_000 {
			t.Errorf("%+v", s)
		}
	})
}
