package httpmw

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

// served runs a handler once behind a limit, with a context that the test makes, and returns how long the limit
// believes work takes: 0 if it has learned nothing.
func served(t *testing.T, ctx context.Context, h http.HandlerFunc) time.Duration {
	t.Helper()
	l := newLimit(t, limit.DefaultConfig())
	Limit(l, LimitOptions{})(h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	if n := l.Stats().Admitted; n != 0 {
		t.Errorf("%d places are taken", n)
	}
	return l.Stats().Hold
}

func TestLimitLearnsFromWhatWasDoneAndFromDeadlines(t *testing.T) {
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Millisecond) // something to learn
			w.WriteHeader(status)
		}
	}
	late := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		timeout time.Duration
		learns  bool
	}{
		"answered":               {answers(200), time.Hour, true},
		"not found":              {answers(404), time.Hour, true},
		"failed":                 {answers(500), time.Hour, false},
		"unavailable":            {answers(503), time.Hour, false},
		"too many":               {answers(429), time.Hour, false},
		"a deadline of its own":  {answers(504), time.Hour, true},
		"upgraded":               {answers(101), time.Hour, false},
		"too late":               {late(504), time.Millisecond, true},
		"too late, says 503":     {late(503), time.Millisecond, true},
		"too late, says nothing": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, time.Millisecond, true},
		"refused by another": {func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Millisecond)
			refuse(w, &ramp.RejectedError{})
		}, time.Hour, false},
		"refused by another, too late": {func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			refuse(w, &ramp.RejectedError{})
		}, time.Millisecond, false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
		if hold := served(t, ctx, test.handler); (hold > 0) != test.learns {
			t.Errorf("%s: learned %v", name, hold)
		}
		cancel()
	}
}

func TestClientThatLeftTeachesNothing(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	if hold := served(t, ctx, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond)
		leave()
		w.WriteHeader(200)
	}); hold != 0 {
		t.Errorf("learned %v", hold)
	}
}

func TestTakenConnectionTeachesNothing(t *testing.T) {
	for name, before := range map[string]func(http.ResponseWriter){
		"at once":       func(http.ResponseWriter) {},
		"after a begin": func(w http.ResponseWriter) { w.WriteHeader(200); http.NewResponseController(w).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimit(t, limit.DefaultConfig())
			s, _ := serving(t, Limit(l, LimitOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				before(w)
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
				c.Close()
			})))
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			io.Copy(io.Discard, c)
			eventually(t, "no place is taken", func() bool { return l.Stats().Admitted == 0 })
			if hold := l.Stats().Hold; hold != 0 {
				t.Errorf("learned %v", hold)
			}
		})
	}
}

func TestSenderWhoWaitsForAnAnswerReachesTheHandler(t *testing.T) {
	l := newLimit(t, limit.DefaultConfig())
	s, _ := serving(t, Limit(l, LimitOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		for b := make([]byte, 5); ; control.Flush() {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			w.Write(b)
		}
	})))
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, next := range []string{"5\r\nagain\r\n", "0\r\n\r\n"} {
		b := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, next)
	}
	eventually(t, "no place is taken", func() bool { return l.Stats().Admitted == 0 })
}

func TestRefusedTogetherDoNotReturnTogether(t *testing.T) {
	for _, test := range []struct {
		err         error
		least, most time.Duration
	}{
		{&limit.RejectedError{}, time.Second, 2 * time.Second},
		{&limit.RejectedError{RetryAfter: 2500 * time.Millisecond}, 3 * time.Second, 4 * time.Second},
		{&limit.RejectedError{RetryAfter: time.Minute}, time.Minute, 72 * time.Second},
		{&breaker.RejectedError{}, time.Second, 2 * time.Second},
		{&ramp.RejectedError{Stage: ramp.Waiting, RetryAfter: 10 * time.Second}, 10 * time.Second, 12 * time.Second},
		{&ramp.RejectedError{Stage: ramp.Rising, RetryAfter: 10 * time.Second}, 10 * time.Second, 10 * time.Second}, // of this very key
		{&ramp.RejectedError{Stage: ramp.Rising}, time.Second, time.Second},
	} {
		seen := make(map[time.Duration]bool)
		for range 300 {
			after := problemOf(test.err).RetryAfter
			if after < test.least || after > test.most || after%time.Second != 0 {
				t.Errorf("%v: %v", test.err, after)
			}
			seen[after] = true
		}
		if want := int((test.most-test.least)/time.Second) + 1; len(seen) != want {
			t.Errorf("%v: %d times, want %d", test.err, len(seen), want)
		}
	}
}

// adaptive is a limit of 10 slots that can change.
func adaptive(t *testing.T) *limit.Limit {
	a := limit.DefaultAdaptive()
	return newLimit(t, limit.Config{Slots: 10, Queue: 10, Adaptive: &a})
}

func TestLimitOfAClientShrinksWhenTheServerHasTooMuch(t *testing.T) {
	for status, want := range map[int]int{200: 10, 404: 10, 429: 7, 500: 10, 502: 10, 503: 7} {
		l := adaptive(t)
		tr := NewTransport(tripperFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: http.NoBody}, nil
		}), WithLimit(func(*http.Request) *limit.Limit { return l }, nil))
		if _, err := tr.RoundTrip(httptest.NewRequest("GET", "http://h/", nil)); err != nil {
			t.Fatal(err)
		}
		if got := l.Stats().Slots; got != want {
			t.Errorf("%d slots after a %d, want %d", got, status, want)
		}
	}
}

func TestLimitOfAClientLearnsFromAnswersAndDeadlines(t *testing.T) {
	for name, test := range map[string]struct {
		resp   *http.Response
		err    error
		learns bool
	}{
		"answered":          {&http.Response{StatusCode: 200}, nil, true},
		"failed":            {&http.Response{StatusCode: 500}, nil, false},
		"upgraded":          {&http.Response{StatusCode: 101}, nil, false},
		"a deadline passed": {nil, fmt.Errorf("so: %w", context.DeadlineExceeded), true},
		"broken":            {nil, errors.New("broken"), false},
	} {
		l := newLimit(t, limit.DefaultConfig())
		tr := NewTransport(tripperFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			return test.resp, test.err
		}), WithLimit(func(*http.Request) *limit.Limit { return l }, nil))
		if _, err := tr.RoundTrip(httptest.NewRequest("GET", "http://h/", nil)); err != test.err {
			t.Error(err)
		}
		if hold := l.Stats().Hold; (hold > 0) != test.learns {
			t.Errorf("%s: learned %v", name, hold)
		}
	}
}

func TestBodyThatHasEndedNoLongerWatchesItsContext(t *testing.T) {
	for name, end := range map[string]func(io.ReadCloser){
		"closed": func(b io.ReadCloser) { b.Close() },
		"read":   func(b io.ReadCloser) { io.Copy(io.Discard, b) },
	} {
		g := newGroup(t, breaker.DefaultPolicy())
		tr := NewTransport(tripperFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, ContentLength: 4, Body: io.NopCloser(strings.NewReader("body"))}, nil
		}), WithBreaker(g, ByHost))
		resp, err := tr.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "http://h/", nil))
		if err != nil {
			t.Fatal(err)
		}
		end(resp.Body)
		if resp.Body.(*body).stop() {
			t.Errorf("%s: went on watching", name)
		}
	}
}
