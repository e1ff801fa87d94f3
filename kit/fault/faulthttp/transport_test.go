package faulthttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

var (
	bank     = fault.Def{Name: "bank.http", Doc: "The bank is asked.", Attrs: []string{"method", "host", "path", "tenant"}, Effects: fault.Bytes}
	bankBody = fault.Def{Name: "bank.body", Doc: "The bank's answer is read.", Attrs: []string{"method", "host", "path"}, Effects: fault.Call}
)

const text = "0123456789abcdef"

// engine answers without a network, and counts.
type engine struct {
	calls  int
	closed bool
}

func (e *engine) RoundTrip(r *http.Request) (*http.Response, error) {
	e.calls++
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(iotestHalf(text)), Header: http.Header{}, Request: r}, nil
}

func (e *engine) CloseIdleConnections() { e.closed = true }

// iotestHalf gives what it has in two reads.
func iotestHalf(s string) io.Reader {
	return io.MultiReader(strings.NewReader(s[:len(s)/2]), strings.NewReader(s[len(s)/2:]))
}

func newClient(t testing.TB) (*fault.Set, *engine, *http.Client) {
	set := faulttest.New(t)
	e := &engine{}
	return set, e, &http.Client{Transport: Transport(e, Points{Exchange: set.Point(bank), Body: set.Point(bankBody)})}
}

func TestTransportWithoutPointsIsTheTransport(t *testing.T) {
	e := &engine{}
	if Transport(e, Points{}) != http.RoundTripper(e) || Transport(nil, Points{}) != http.DefaultTransport {
		t.Error("it is another")
	}
}

func TestTransportFailsBeforeTheRequest(t *testing.T) {
	set, e, client := newClient(t)
	faulttest.Put(t, set, fault.Rule{Point: "bank.http", Where: map[string]string{"host": "bank", "path": "/pay*"}, Error: &fault.Failure{Cause: "timeout"}})
	sent := &closing{Reader: strings.NewReader("x")}
	_, err := client.Post("http://bank/pay", "", sent)
	var timeout interface{ Timeout() bool }
	if !errors.Is(err, fault.ErrInjected) || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
	if e.calls != 0 || !sent.closed {
		t.Error("sent:", e.calls, "body closed:", sent.closed)
	}
	if _, err := client.Get("http://bank/other"); err != nil || e.calls != 1 {
		t.Error(err, e.calls)
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestTransportAnswersAStatus(t *testing.T) {
	set, e, client := newClient(t)
	faulttest.Put(t, set, fault.Rule{Point: "bank.http", Error: &fault.Failure{HTTPStatus: 503, RetryAfter: 1500 * time.Millisecond}})
	resp, err := client.Get("http://bank/pay")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "2" || err != nil || int64(len(body)) != resp.ContentLength || e.calls != 0 {
		t.Error(resp.StatusCode, resp.Header, string(body), err, e.calls)
	}
	head, err := client.Head("http://bank/pay")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(head.Body); len(body) > 0 || head.Status != "503 Service Unavailable" {
		t.Error(head.Status, string(body))
	}
}

func TestTransportDropSendsAndLosesTheAnswer(t *testing.T) {
	set, e, client := newClient(t)
	faulttest.Put(t, set, fault.Rule{Point: "bank.http", Drop: &fault.Drop{}})
	_, err := client.Get("http://bank/pay")
	if !errors.Is(err, fault.ErrInjected) || !errors.Is(err, io.ErrUnexpectedEOF) || e.calls != 1 {
		t.Error(err, e.calls)
	}
}

func TestAnswerThatComesAfterTheRuleIsNotLost(t *testing.T) {
	set := faulttest.New(t)
	client := &http.Client{Transport: Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		if err := set.Kill(fault.Admin, true); err != nil { // while the bank thinks
			t.Error(err)
		}
		return (&engine{}).RoundTrip(r)
	}), Points{Exchange: set.Point(bank)})}
	faulttest.Put(t, set, fault.Rule{Point: "bank.http", Drop: &fault.Drop{}})
	resp, err := client.Get("http://bank/pay")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// TestBodyIsAsItIsWhenTheRuleEnds, from where it is read by then.
func TestBodyIsAsItIsWhenTheRuleEnds(t *testing.T) {
	for name, test := range map[string]struct {
		rule fault.Rule
		want string
	}{
		"truncate": {fault.Rule{Truncate: &fault.Truncate{After: 12}}, text},
		"corrupt":  {fault.Rule{Corrupt: &fault.Corrupt{Offset: new(int64(7)), Length: 3, Mode: fault.Zeroed}}, "0123456\x0089abcdef"},
	} {
		t.Run(name, func(t *testing.T) {
			set, _, client := newClient(t)
			test.rule.Point = "bank.http"
			faulttest.Put(t, set, test.rule)
			resp, err := client.Get("http://bank/pay")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			half := make([]byte, 8)
			if _, err := io.ReadFull(resp.Body, half); err != nil {
				t.Error(err)
			}
			faulttest.Clear(t, set)
			rest, err := io.ReadAll(resp.Body)
			if got := string(half) + string(rest); got != test.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestTransportDamagesTheAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		rule fault.Rule
		want string
		err  error
	}{
		"cut at the start":   {fault.Rule{Truncate: &fault.Truncate{}}, "", io.ErrUnexpectedEOF},
		"cut in the midst":   {fault.Rule{Truncate: &fault.Truncate{After: 10}}, text[:10], io.ErrUnexpectedEOF},
		"cut between reads":  {fault.Rule{Truncate: &fault.Truncate{After: 8}}, text[:8], io.ErrUnexpectedEOF},
		"cut at its end":     {fault.Rule{Truncate: &fault.Truncate{After: 16}}, text, nil},
		"zeroed over a read": {fault.Rule{Corrupt: &fault.Corrupt{Offset: new(int64(6)), Length: 4, Mode: fault.Zeroed}}, "012345\x00\x00\x00\x00abcdef", nil},
	} {
		t.Run(name, func(t *testing.T) {
			set, _, client := newClient(t)
			test.rule.Point = "bank.http"
			faulttest.Put(t, set, test.rule)
			resp, err := client.Get("http://bank/pay")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if string(got) != test.want || err != test.err {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestTransportBodyFailsAtARead(t *testing.T) {
	set, _, client := newClient(t)
	faulttest.Put(t, set, fault.Rule{Point: "bank.body", Skip: 1, Error: &fault.Failure{Cause: "reset"}})
	resp, err := client.Get("http://bank/pay")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != text[:8] || !errors.Is(err, fault.ErrInjected) {
		t.Errorf("%q, %v", got, err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "bank.body", Skip: 1, Error: &fault.Failure{Cause: "eof"}})
	resp, err = client.Get("http://bank/pay")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != text[:8] || err != nil {
		t.Errorf("an end of file is no other than a real one: %q, %v", got, err)
	}
}

func TestTransportHangsUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, e, client := newClient(t)
		faulttest.Put(t, set, fault.Rule{Point: "bank.http", Hang: &fault.Hang{}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", "http://bank/pay", nil)
		began := time.Now()
		if _, err := client.Do(r); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second || e.calls != 0 {
			t.Error(err, time.Since(began), e.calls)
		}
	})
}

func TestTransportSurvivesAPanic(t *testing.T) {
	set, e, client := newClient(t)
	faulttest.Put(t, set, fault.Rule{Point: "bank.http", Count: 1, Panic: &fault.Panicking{}})
	sent := &closing{Reader: strings.NewReader("x")}
	if !faulttest.Panics(t, func() { _, _ = client.Post("http://bank/pay", "", sent) }) || !sent.closed {
		t.Error("no panic, or a body is left open")
	}
	if _, err := client.Get("http://bank/pay"); err != nil || e.calls != 1 {
		t.Error(err, e.calls)
	}
}

func TestTransportTellsAttributesOfTheCaller(t *testing.T) {
	set := faulttest.New(t)
	e := &engine{}
	client := &http.Client{Transport: Transport(e, Points{Exchange: set.Point(bank), Attrs: func(r *http.Request) []fault.Attr {
		return []fault.Attr{{Key: "tenant", Value: r.Header.Get("Tenant")}}
	}})}
	faulttest.Put(t, set, fault.Rule{Point: "*", Where: map[string]string{"tenant": "noisy"}, Error: &fault.Failure{}})
	r := httptest.NewRequest("GET", "http://bank/pay", nil)
	r.RequestURI = ""
	if _, err := client.Do(r); err != nil {
		t.Error(err)
	}
	r.Header.Set("Tenant", "noisy")
	if _, err := client.Do(r); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	client.CloseIdleConnections()
	if !e.closed {
		t.Error("idle connections stay open")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// same answers with one response, without cost of its own.
type same struct{ answer http.Response }

func (s *same) RoundTrip(*http.Request) (*http.Response, error) { return &s.answer, nil }

func TestTransportThatIsOffAllocatesNothing(t *testing.T) {
	set := faulttest.New(t)
	rt := Transport(&same{http.Response{StatusCode: 200, Body: http.NoBody}}, Points{Exchange: set.Point(bank), Body: set.Point(bankBody)})
	r := httptest.NewRequest("GET", "http://bank/pay", nil)
	if n := testing.AllocsPerRun(100, func() { _, _ = rt.RoundTrip(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	w := httptest.NewRecorder()
	h := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Points{Exchange: set.Point(bank), Body: set.Point(bankBody)})
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOff(b *testing.B) {
	set := faulttest.New(b)
	next := &same{http.Response{StatusCode: 200, Body: http.NoBody}}
	r := httptest.NewRequest("GET", "http://bank/pay", nil)
	for name, rt := range map[string]http.RoundTripper{"bare": next, "points": Transport(next, Points{Exchange: set.Point(bank), Body: set.Point(bankBody)})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = rt.RoundTrip(r)
			}
		})
	}
}
