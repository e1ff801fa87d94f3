package inference

import (
	"context"
	"errors"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// manyRows is a request of n rows of loan-default for POST /v1/predict.
func manyRows(t testing.TB, n int) string {
	rows, _ := readCases(t, data+"loan-default/cases.csv", "full", 72)
	var b strings.Builder
	b.WriteString(`{"model":"loan-default","inputs":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(rows[i%len(rows)])
	}
	b.WriteString("]}")
	return b.String()
}

// With one slot, who sends a row waits for a block of a large request, not for all of it.
func TestSingleRowsAreAnsweredAmidALargeRequest(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Slots = 1
	s, h, _ := serve(t, cfg, models.Repository)
	body := manyRows(t, 16384)
	var large sync.WaitGroup
	var code int
	done := make(chan struct{})
	large.Go(func() {
		defer close(done)
		code = post(h, body).Code
	})
	waitFor(t, func() bool { return s.Status().Running == 1 })
	small := 0
	for range 5 {
		if w := post(h, `{"model":"loan-mini","input":[0.1,0.9]}`); w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
		select {
		case <-done:
		default:
			small++
		}
	}
	large.Wait()
	if code != http.StatusOK {
		t.Fatal(code)
	}
	if small < 5 {
		t.Errorf("%d of 5 small requests were answered before the large one", small)
	}
	if got := s.Status(); got.Running+got.Queued+got.Arriving != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLargeRequestsUseFreeSlotsAndAnswerTheSame(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	body := manyRows(t, 5000)
	answers := map[int]string{}
	for _, slots := range []int{1, 8} {
		cfg := DefaultConfig()
		cfg.Slots = slots
		s, h, _ := serve(t, cfg, models.Repository)
		// On a busy machine who looks may not be there in the milliseconds in which more slots are held.
		most := 0
		for try := 0; try < 3 || most < 2 && slots > 1 && try < 1000; try++ {
			answered := make(chan string)
			go func() { answered <- post(h, body).Body.String() }()
			for looking := true; looking; {
				most = max(most, s.Status().Running)
				select {
				case answers[slots] = <-answered:
					looking = false
				default:
				}
			}
		}
		if (most > 1) != (slots > 1) {
			t.Errorf("with %d slots a large request had %d", slots, most)
		}
		if got := s.Status(); got.Running != 0 || got.Rows.InUse != 0 {
			t.Errorf("%+v", got)
		}
	}
	if answers[1] != answers[8] || strings.Count(answers[1], "],[") != 4999 {
		t.Error("the answers differ")
	}
}

// Requests of all sizes at once, more than there are slots: nothing mixes, nothing is left.
func TestLargeAndSmallRequestsDoNotMix(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Slots = 3
	s, h, _ := serve(t, cfg, models.Repository)
	sizes := []int{1, 255, 256, 257, 700, 1500}
	want := map[int]string{}
	for _, n := range sizes {
		want[n] = post(h, manyRows(t, n)).Body.String()
	}
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			n := sizes[i%len(sizes)]
			body := manyRows(t, n)
			for range 5 {
				if got := post(h, body).Body.String(); got != want[n] {
					t.Errorf("%d rows: another answer", n)
				}
			}
		})
	}
	all.Wait()
	if got := s.Status(); got.Running+got.Queued+got.Arriving != 0 || got.Rows.InUse != 0 {
		t.Errorf("%+v", got)
	}
}

// A panic in an extra slot is the request's: it is kept for who waits for the rows, and nobody takes another block.
func TestPanicInAnExtraSlotIsKeptForItsRequest(t *testing.T) {
	b := &blocks{rows: 10 * blockRows} // and no version: scoring panics
	b.help(limit.Slot{})
	if b.panicked.Load() == nil {
		t.Error("the panic is lost")
	}
	if b.one() {
		t.Error("another block was taken")
	}
}

// inSlot is an exchange that has a slot of so many, and rows for it.
func inSlot(t *testing.T, ctx context.Context, slots, rows int) (x *exchange, v *repository.Version, values, outputs []float64) {
	t.Helper()
	cfg := miniConfig()
	cfg.Slots = slots
	s, _, _ := serve(t, cfg, mini(t))
	e := s.begin(caller{ctx: ctx, tenant: "a"}, protocol{})
	x = &e
	if err := x.admit(); err != nil {
		t.Fatal(err)
	}
	if err := x.permit.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.permit.Done)
	v, err := x.loaded.Find("loan-mini", "")
	if err != nil {
		t.Fatal(err)
	}
	outputs = make([]float64, rows*v.Outputs())
	for i := range outputs {
		outputs[i] = math.NaN()
	}
	return x, v, make([]float64, rows*v.Features()), outputs
}

// endsAfter ends when it has been looked at so many times.
type endsAfter struct {
	context.Context
	looks int
}

func (c *endsAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

func TestNoBlockBeginsWhenNobodyWaitsForIt(t *testing.T) {
	ctx := &endsAfter{context.Background(), 1 << 30}
	x, v, values, outputs := inSlot(t, ctx, 1, 10*blockRows)
	ctx.looks = 3
	if err := x.predictBlocks(v, values, 10*blockRows, outputs); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	scored := slices.IndexFunc(outputs, math.IsNaN)
	if scored != 4*blockRows { // one, and one after each look
		t.Errorf("%d rows were scored of %d", scored, len(outputs))
	}
}

// Who waits between two blocks holds memory, which must be there.
func TestLargeRequestsYieldOnlyWithRoomForTheirRows(t *testing.T) {
	for _, room := range []bool{true, false} {
		x, v, values, outputs := inSlot(t, context.Background(), 1, 4*blockRows)
		need := int64(8 * (cap(values) + cap(outputs)))
		rest := x.service.memory.limit - need
		if !room {
			rest++
		}
		x.service.memory.take(rest)
		if err := x.predictBlocks(v, values, 4*blockRows, outputs); err != nil {
			t.Fatal(err)
		}
		if (x.yielded > 0) != room {
			t.Errorf("with room %v it waited for %v", room, x.yielded)
		}
		if got := x.service.memory.used.Load(); got != rest {
			t.Errorf("%d bytes are held after it, %d before", got, rest)
		}
		x.service.memory.used.Add(-rest)
	}
}

// looked calls a function whenever its owner looks whether it has ended, which is between two blocks.
type looked struct {
	context.Context
	at func()
}

func (c *looked) Err() error {
	if c.at != nil {
		c.at()
	}
	return nil
}

// A row waits for a block, whoever else waits with many.
func TestSingleRowsGoBeforeLargeRequestsThatWait(t *testing.T) {
	const rows = 50 * blockRows
	ctx := &looked{Context: context.Background()}
	x, v, values, outputs := inSlot(t, ctx, 1, rows)
	l := x.service.limiter
	var others sync.WaitGroup
	var large, small atomic.Bool
	late, looks := 0, 0
	ctx.at = func() {
		looks++
		switch {
		case looks == 5:
			p, err := l.AdmitFor(limit.Request{Tenant: "a"})
			if err != nil {
				t.Error(err)
				return
			}
			p.Long()
			others.Go(func() {
				defer p.Done()
				if err := p.Start(context.Background()); err != nil {
					t.Error(err)
				}
				large.Store(true)
			})
			waitFor(t, func() bool { return l.Stats().Queued == 1 })
		case looks == 10:
			others.Go(func() {
				p, err := l.AcquireFor(context.Background(), limit.Request{Tenant: "b"})
				if err != nil {
					t.Error(err)
					return
				}
				small.Store(true)
				p.Done()
			})
			waitFor(t, func() bool { return l.Stats().Queued == 2 || small.Load() })
		case looks > 10 && !small.Load():
			late++
		case large.Load():
			t.Error("the other large request had the slot first")
		}
	}
	if err := x.predictBlocks(v, values, rows, outputs); err != nil {
		t.Fatal(err)
	}
	if looks < 20 || late > 0 {
		t.Errorf("of %d looks %d passed before the row had its slot", looks, late)
	}
	x.permit.Done()
	others.Wait()
	if got := x.service.Status(); got.Running+got.Queued+got.Arriving != 0 {
		t.Errorf("%+v", got)
	}
}

// A slot that was given to others is taken again when they have gone.
func TestLargeRequestsTakeFreeSlotsAgain(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	const rows = 4000 * blockRows
	ctx := &looked{Context: context.Background()}
	x, v, values, outputs := inSlot(t, ctx, 2, rows)
	l := x.service.limiter
	looks, again := 0, false
	ctx.at = func() {
		looks++
		switch {
		case looks == 5: // both slots are its own
			if got := l.Stats().Running; got != 2 {
				t.Errorf("it has %d slots", got)
			}
			p, err := l.AcquireFor(context.Background(), limit.Request{Tenant: "b"})
			if err != nil {
				t.Error(err)
				return
			}
			p.Done()
		case looks > 6:
			again = again || l.Stats().Running == 2
		}
	}
	if err := x.predictBlocks(v, values, rows, outputs); err != nil {
		t.Fatal(err)
	}
	if !again {
		t.Errorf("in %d looks it had one slot", looks)
	}
}
