package httpmw

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
)

func fallbackConfig() fallback.Config { return fallback.DefaultConfig() }

// shaky is a server that can be told to fail, and a client with a fallback.
type shaky struct {
	*joined
	url  string
	fail atomic.Pointer[http.HandlerFunc]
	last *http.Response
}

func newShaky(t *testing.T, o FallbackOptions, good http.HandlerFunc) *shaky {
	t.Helper()
	y := &shaky{}
	s, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bad := y.fail.Load(); bad != nil {
			(*bad)(w, r)
			return
		}
		good(w, r)
	}))
	if o.Config == (fallback.Config{}) {
		o.Config = fallback.DefaultConfig()
	}
	f, err := NewFallback(o)
	if err != nil {
		t.Fatal(err)
	}
	y.joined, y.url = join(t, s, twoFailures(), WithFallback(f)), s.URL
	return y
}

func (y *shaky) breaks(bad http.HandlerFunc) { y.fail.Store(&bad) }

// get returns the body, and keeps the answer.
func (y *shaky) get(t *testing.T, header ...string) (string, error) {
	t.Helper()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", y.url+"/page?q=1", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := y.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	y.last = resp
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func text(s string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		io.WriteString(w, s)
	}
}

var failures = map[string]http.HandlerFunc{
	"5xx":       func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); io.WriteString(w, "broken") },
	"cut":       func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	"cut later": func(w http.ResponseWriter, r *http.Request) { partly(closed)(w, r) },
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func TestLastGoodAnswerIsGivenInPlaceOfAFailure(t *testing.T) {
	for name, bad := range failures {
		t.Run(name, func(t *testing.T) {
			noMoreGoroutines(t)
			y := newShaky(t, FallbackOptions{}, text("good", "X-Kept", "yes"))
			if got, err := y.get(t); got != "good" || err != nil || y.last.Header.Get(ServedByHeader) != "" {
				t.Fatal(got, err, y.last.Header)
			}
			y.last.Header.Del("X-Kept") // no matter to those that come later
			y.breaks(bad)
			for range 5 { // until the circuit is open, and then
				if got, err := y.get(t); got != "good" || err != nil || y.last.StatusCode != 200 {
					t.Fatal(got, err)
				}
				if h := y.last.Header; h.Get(ServedByHeader) != "cached" || h.Get("Age") != "0" || h.Get("X-Kept") != "yes" {
					t.Error(h)
				}
			}
			if s := y.group.Snapshot().Circuits[0]; s.State != breaker.Open {
				t.Errorf("%+v", s)
			}
			eventually(t, "no place is taken", func() bool { return y.limit.Stats().Admitted == 0 })
		})
	}
}

func TestWithoutAGoodAnswerTheFailureIsGiven(t *testing.T) {
	y := newShaky(t, FallbackOptions{}, nil)
	y.breaks(failures["5xx"])
	if got, err := y.get(t); got != "broken" || err != nil || y.last.StatusCode != 500 || y.last.Header.Get(ServedByHeader) != "" {
		t.Error(got, err, y.last)
	}
	y.breaks(failures["cut"])
	if _, err := y.get(t); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, err := y.get(t); !errors.Is(err, breaker.ErrRejected) {
		t.Error(err)
	}
	eventually(t, "no place is taken", func() bool { return y.limit.Stats().Admitted == 0 })
}

func TestWhatIsNotForOthersIsNotKept(t *testing.T) {
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		request []string
		kept    bool
	}{
		"plain":             {text("good"), nil, true},
		"public":            {text("good", "Cache-Control", "public, max-age=5", "Vary", "Accept-Encoding, accept"), nil, true},
		"private":           {text("good", "Cache-Control", "max-age=5, Private"), nil, false},
		"private field":     {text("good", "Cache-Control", `private="x"`), nil, false},
		"no-store":          {text("good", "Cache-Control", "no-store"), nil, false},
		"no-cache":          {text("good", "Cache-Control", "No-Cache"), nil, false},
		"no-cache field":    {text("good", "Cache-Control", `no-cache="x"`), nil, false},
		"must-revalidate":   {text("good", "Cache-Control", "max-age=1, must-revalidate"), nil, false},
		"proxy-revalidate":  {text("good", "Cache-Control", "proxy-revalidate"), nil, false},
		"s-maxage":          {text("good", "Cache-Control", "public, s-maxage=0"), nil, false},
		"old at once":       {text("good", "Cache-Control", "max-age=0"), nil, true},
		"cookie set":        {text("good", "Set-Cookie", "a=b"), nil, false},
		"varies":            {text("good", "Vary", "Accept, X-User"), nil, false},
		"varies wildly":     {text("good", "Vary", "*"), nil, false},
		"events":            {text("good", "Content-Type", "text/event-stream; charset=utf-8"), nil, false},
		"too large":         {text(strings.Repeat("good", 26)), nil, false},
		"as large as it is": {text(strings.Repeat("good", 25)), nil, true},
		"with a token":      {text("good"), []string{"Authorization", "Bearer x"}, false},
		"with a cookie":     {text("good"), []string{"Cookie", "a=b"}, false},
		"with an api key":   {text("good"), []string{"X-Api-Key", "alice"}, false},
		"for a tenant":      {text("good"), []string{"X-Tenant", "a"}, false},
		"wants it fresh":    {text("good"), []string{"Cache-Control", "no-cache"}, false},
		"a test":            {text("good"), []string{"X-Ai-Test", "true"}, false},
		"harmless headers":  {text("good"), []string{"User-Agent", "curl", "Traceparent", "00-1-2-01", "X-Request-Id", "7"}, true},
		"a part":            {text("good"), []string{"Range", "bytes=0-1"}, false},
		"not found":         {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404); io.WriteString(w, "good") }, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			y := newShaky(t, FallbackOptions{MaxBody: 100}, test.answer)
			want, err := y.get(t, test.request...)
			if err != nil || !strings.HasPrefix(want, "good") {
				t.Fatal(want, err)
			}
			y.breaks(failures["5xx"])
			got, err := y.get(t, test.request...)
			if (got == want) != test.kept || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if other, _ := y.get(t, "Accept", "text/other"); other == want {
				t.Error("given to another request")
			}
			eventually(t, "no place is taken", func() bool { return y.limit.Stats().Admitted == 0 })
		})
	}
}

func TestAnswerForOneCallerGoesToNoOther(t *testing.T) {
	for _, header := range []string{"Authorization", "Cookie", "X-Api-Key", "X-User", "Proxy-Authorization", "Forwarded", "Anything"} {
		y := newShaky(t, FallbackOptions{}, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "for "+r.Header.Get(header)) })
		if got, err := y.get(t, header, "alice"); got != "for alice" || err != nil {
			t.Fatal(got, err)
		}
		y.breaks(failures["5xx"])
		for _, other := range [][]string{{header, "bob"}, nil} {
			if got, err := y.get(t, other...); got != "broken" || err != nil {
				t.Errorf("%s: %q got %q, %v", header, other, got, err)
			}
		}
	}
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: http.Header{"accept": {"text/a"}}} // and not Accept
	if key, ok := PublicKey(r); ok {
		t.Errorf("%q is the key of a request with a header that is spelt oddly", key)
	}
}

func TestAnswerThatIsGoneIsForgotten(t *testing.T) {
	y := newShaky(t, FallbackOptions{}, text("good"))
	y.get(t)
	y.breaks(http.NotFound)
	y.get(t)
	y.breaks(failures["5xx"])
	if got, err := y.get(t); got != "broken" {
		t.Error(got, err)
	}
}

func TestDefaultAnswersWhenNothingIsKept(t *testing.T) {
	y := newShaky(t, FallbackOptions{Default: func(r *http.Request, cause error) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(r.URL.Path + " " + cause.Error()))}, nil
	}}, nil)
	y.breaks(failures["5xx"])
	if got, err := y.get(t); got != "/page httpmw: 500 Internal Server Error" || err != nil || y.last.Header.Get(ServedByHeader) != "default" {
		t.Error(got, err)
	}
}

func TestFallbackHasTimeLeftWhenTheServerHangs(t *testing.T) {
	noMoreGoroutines(t)
	y := newShaky(t, FallbackOptions{}, text("good"))
	y.get(t)
	y.breaks(partly(nil))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", y.url+"/page?q=1", nil)
	resp, err := y.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "good" || err != nil || ctx.Err() != nil {
		t.Errorf("%s, %v, %v", b, err, ctx.Err())
	}
	if s := y.group.Snapshot().Circuits[0].Counts; s.Failures != 1 {
		t.Errorf("%+v", s)
	}
}

func TestStreamOutlivesTheTimeOfTheCall(t *testing.T) {
	more := make(chan string)
	y := newShaky(t, FallbackOptions{Config: fallback.Config{Entries: 1, TTL: time.Minute, DefaultTimeout: time.Second, Reserve: time.Second}}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		for s := range more {
			http.NewResponseController(w).Flush()
			io.WriteString(w, s)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", y.url, nil)
	go func() { more <- "a" }()
	resp, err := y.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	go func() { more <- "b"; close(more) }()
	if b, err := io.ReadAll(resp.Body); string(b) != "ab" || err != nil {
		t.Errorf("%s, %v", b, err)
	}
	if got := counts(t, y.group); got != oneSuccess {
		t.Errorf("%+v", got)
	}
}

func TestFaultyFallbackIsRefused(t *testing.T) {
	if _, err := NewFallback(FallbackOptions{}); err == nil || !strings.Contains(err.Error(), "default_timeout: ") {
		t.Error(err)
	}
}

// FuzzKeeps holds that what forbids to be kept is not, however it is spelt.
func FuzzKeeps(f *testing.F) {
	f.Add("max-age=1", "Accept", "text/html; charset=utf-8")
	f.Add(" ,No-Store ,x", "*", "a/b;;=")
	f.Fuzz(func(t *testing.T, control, vary, kind string) {
		y := &Fallback{maxBody: 100}
		resp := &http.Response{StatusCode: 200, Header: http.Header{"Cache-Control": {control}, "Vary": {vary}, "Content-Type": {kind}}}
		y.keeps(resp)
		for _, more := range []string{"no-store", "PRIVATE", "private=\"x\"", "No-Cache", "must-revalidate", "proxy-revalidate", "s-maxage = 0"} {
			resp.Header["Cache-Control"] = []string{control, more}
			if y.keeps(resp) {
				t.Errorf("kept with %q and %q", control, more)
			}
		}
		resp.Header["Cache-Control"], resp.Header["Vary"] = nil, []string{vary, "x-user"}
		if y.keeps(resp) {
			t.Errorf("kept, varies by %q and x-user", vary)
		}
	})
}
