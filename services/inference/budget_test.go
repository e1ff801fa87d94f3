package inference

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

func TestMemoryBudgetRefuses(t *testing.T) {
	cfg := miniConfig()
	cfg.InFlightBytes = 1000
	s, h, _ := serve(t, cfg, mini(t))
	big := `{"model":"loan-mini","input":[0.1,0.9]` + strings.Repeat(" ", 2000) + `}`
	if w := post(h, big); w.Code != 503 || !strings.Contains(w.Body.String(), CodeOverloaded) {
		t.Errorf("with its length: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("POST", "/v1/predict", strings.NewReader(big))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("without its length: %d %s", w.Code, w.Body)
	}
	if w := post(h, `{"model":"loan-mini","input":[0.1,0.9]}`); w.Code != 200 {
		t.Errorf("a small one: %d %s", w.Code, w.Body)
	}
	if used := s.Status().HeldBytes; used != 0 {
		t.Errorf("%d bytes stay reserved", used)
	}
}

// pieces is a body that comes a few bytes at a time, and looks at each read whether all the room that it is read into is
// counted.
type pieces struct {
	t       *testing.T
	s       *Service
	body    []byte
	arrived int
	rnd     *rand.Rand
}

func (p *pieces) Read(room []byte) (int, error) {
	if held, memory := p.s.Status().HeldBytes, p.arrived+len(room); held != int64(memory) {
		p.t.Errorf("of %d bytes %d have arrived, in %d of memory: %d are counted", len(p.body), p.arrived, memory, held)
	}
	if p.arrived == len(p.body) {
		return 0, io.EOF
	}
	n := copy(room[:1+p.rnd.IntN(len(room))], p.body[p.arrived:])
	p.arrived += n
	return n, nil
}

func TestMemoryBudgetCountsAllThatABodyHolds(t *testing.T) {
	s, h, _ := serve(t, miniConfig(), mini(t))
	for range 200 {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		rnd := rand.New(rand.NewPCG(seed, 0))
		body := append([]byte(`{"model":"loan-mini","input":[0.1,0.9]}`), bytes.Repeat([]byte(" "), rnd.IntN(1<<rnd.IntN(23)))...)
		r := httptest.NewRequest("POST", "/v1/predict", &pieces{t: t, s: s, body: body, rnd: rnd})
		r.ContentLength = []int64{-1, int64(len(body)), 1 << 40}[rnd.IntN(3)]
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if used := s.Status().HeldBytes; used != 0 {
			t.Errorf("%d bytes stay reserved", used)
		}
		if t.Failed() {
			t.Fatalf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	}
}

// TestMemoryBudgetCountsWhatWasAnnounced, as far as there is room for it: who announces much and sends nothing has that.
func TestMemoryBudgetCountsWhatWasAnnounced(t *testing.T) {
	cfg := miniConfig()
	cfg.InFlightBytes = 3 * 16 << 10
	s, h, _ := serve(t, cfg, mini(t))
	blocked := &blockingBody{closed: make(chan struct{})}
	var wg sync.WaitGroup
	announce := func(body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/v1/predict", body)
		r.ContentLength = 1 << 20
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for range 3 {
		wg.Go(func() { announce(blocked) })
	}
	waitFor(t, func() bool { return s.Status().HeldBytes == cfg.InFlightBytes })
	untouched := &countingBody{}
	if w := announce(untouched); w.Code != 503 || !strings.Contains(w.Body.String(), "in memory") || untouched.reads != 0 {
		t.Errorf("%d %s after %d reads", w.Code, w.Body, untouched.reads)
	}
	close(blocked.closed)
	wg.Wait()
	if w := post(h, `{"model":"loan-mini","input":[0.1,0.9]}`); w.Code != 200 || s.Status().HeldBytes != 0 {
		t.Errorf("after all left: %d %s, %d bytes", w.Code, w.Body, s.Status().HeldBytes)
	}
}

// TestMemoryBudgetCountsAllThatAnAnswerHolds: its buffer has more room than the answer takes.
func TestMemoryBudgetCountsAllThatAnAnswerHolds(t *testing.T) {
	s, h, _ := serve(t, miniConfig(), mini(t))
	rows := strings.Repeat("[0.1,0.9],", 2000)
	w := &lookingWriter{ResponseRecorder: httptest.NewRecorder(), look: func(answer []byte) {
		if held := s.Status().HeldBytes; held != int64(cap(answer)) || cap(answer) < len(answer)+1000 {
			t.Errorf("an answer of %d bytes in %d of memory: %d are counted", len(answer), cap(answer), held)
		}
	}}
	h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", strings.NewReader(`{"model":"loan-mini","inputs":[`+rows[:len(rows)-1]+`]}`)))
	if w.Code != 200 || s.Status().HeldBytes != 0 {
		t.Errorf("%d %s, %d bytes", w.Code, w.Body, s.Status().HeldBytes)
	}
}

// lookingWriter has somebody look at what is written.
type lookingWriter struct {
	*httptest.ResponseRecorder
	look func([]byte)
}

func (w *lookingWriter) Write(p []byte) (int, error) {
	w.look(p)
	return w.ResponseRecorder.Write(p)
}
