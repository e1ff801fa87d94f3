package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dougong-io/dougong/internal/auth"
)

func TestValidateReportsEveryFault(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultAdminConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Listen: "nonsense", DeadlineMargin: -1, MaxConnections: -1, TLS: TLSConfig{CertFile: "c", MinVersion: "1.0"}}.Validate()
	for _, want := range []string{
		`listen: "nonsense" is not host:port`, "read_header_timeout: must be positive", "read_timeout: must be positive",
		"write_timeout: must be positive", "write_timeout: must exceed request_timeout", "idle_timeout: must be positive",
		"request_timeout: must be positive", "drain_timeout: must be positive", "deadline_margin: must not be negative",
		"max_header_bytes: ", "max_body_bytes: ", "max_connections: ", "tls.cert_file: ", "tls.min_version: ",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Listen = ":99999" }, "listen: port"},
		{func(c *Config) { c.ReadTimeout = time.Second }, "read_timeout: must be at least read_header_timeout"},
		{func(c *Config) { c.WriteTimeout = c.RequestTimeout }, "write_timeout: must exceed"},
		{func(c *Config) { c.DeadlineMargin = c.RequestTimeout }, "deadline_margin: must be below"},
		{func(c *Config) { c.TLS.ClientCAFile = "ca" }, "tls.client_ca_file: needs"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestTraceparentIsParsedStrictly(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		in string
		ok bool
	}{
		{good, true},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", true},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.", false},
		{good + "-", false},
		{good + "0", false},
		{good[:54], false},
		{"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
		{"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false},
		{"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", false},
		{"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
		{" " + good[1:], false},
		{"", false},
	} {
		tr, ok := ParseTraceparent(c.in)
		if ok != c.ok || !ok && !tr.IsZero() {
			t.Errorf("%q: %+v, %v, want %v", c.in, tr, ok, c.ok)
		}
	}
	if !TraceFrom(context.Background()).IsZero() || (Trace{}).ID() != "" {
		t.Error("a trace out of nothing")
	}
	tr := traceOf(nil)
	if got := TraceFrom(WithTrace(context.Background(), tr)); got != tr {
		t.Errorf("got %v, want %v", got, tr)
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Fuzz(func(t *testing.T, s string) {
		tr, ok := ParseTraceparent(s)
		if !ok {
			if tr != (Trace{}) {
				t.Fatalf("refused, but returned %+v", tr)
			}
			return
		}
		again := Trace{TraceID: tr.TraceID, SpanID: tr.Parent, Flags: tr.Flags}.Traceparent()
		if s[3:53] != again[3:53] || strings.HasPrefix(s, "00-") && s != again {
			t.Fatalf("%q was read as %q", s, again)
		}
	})
}

func TestTimeoutHeaders(t *testing.T) {
	const invalid = time.Duration(-1)
	for _, c := range []struct {
		in            string
		request, grpc time.Duration
	}{
		{"250ms", 250 * time.Millisecond, invalid},
		{"1m30s", 90 * time.Second, invalid},
		{"2", 2 * time.Second, invalid},
		{"0.25", 250 * time.Millisecond, invalid},
		{"0", 0, invalid},
		{"100m", 100 * time.Minute, 100 * time.Millisecond},
		{"100u", invalid, 100 * time.Microsecond},
		{"100n", invalid, 100 * time.Nanosecond},
		{"3S", invalid, 3 * time.Second},
		{"3M", invalid, 3 * time.Minute},
		{"3H", invalid, 3 * time.Hour},
		{"99999999H", invalid, math.MaxInt64},
		{"123456789S", invalid, invalid},
		{"9999999999999999999999999999999", math.MaxInt64, invalid},
		{"99999999999999999999999999999999", math.MaxInt64, invalid},
		{"999999999999999999999999999999999", invalid, invalid},
		{"-1", invalid, invalid}, {"+1", invalid, invalid}, {"1e3", invalid, invalid}, {"0x10", invalid, invalid},
		{"Inf", invalid, invalid}, {"NaN", invalid, invalid}, {"", invalid, invalid}, {"S", invalid, invalid}, {"1 S", invalid, invalid},
		{"1.5S", invalid, invalid}, {".", invalid, invalid}, {"1_0", invalid, invalid}, {"ms", invalid, invalid},
	} {
		for _, p := range []struct {
			name  string
			parse func(string) (time.Duration, error)
			want  time.Duration
		}{{"X-Request-Timeout", ParseRequestTimeout, c.request}, {"grpc-timeout", ParseGRPCTimeout, c.grpc}} {
			got, err := p.parse(c.in)
			if p.want == invalid {
				if !errors.Is(err, ErrTimeoutHeader) {
					t.Errorf("%s %q: %v, %v, want an error", p.name, c.in, got, err)
				}
			} else if err != nil || got != p.want {
				t.Errorf("%s %q: %v, %v, want %v", p.name, c.in, got, err, p.want)
			}
		}
	}
}

func FuzzTimeoutHeader(f *testing.F) {
	for _, s := range []string{"250ms", "1.5", "100m", "99999999H", "-1", "1h1m1s", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (time.Duration, error){ParseRequestTimeout, ParseGRPCTimeout} {
			d, err := parse(s)
			if err == nil && d < 0 || err != nil && (d != 0 || !errors.Is(err, ErrTimeoutHeader)) {
				t.Fatalf("%q: %v, %v", s, d, err)
			}
		}
	})
}

// contexts gives the reference and ours, under the same parent.
func contexts(t *testing.T, d time.Duration) (parentCancel context.CancelFunc, all map[string]context.Context, finish func()) {
	t.Helper()
	parent, cancel := context.WithCancel(context.WithValue(context.Background(), http.LocalAddrContextKey, "value"))
	ours := &requestCtx{parent: parent, deadline: time.Now().Add(d)}
	std, stdCancel := context.WithTimeout(parent, d)
	return cancel, map[string]context.Context{"context.WithTimeout": std, "requestCtx": ours}, func() { stdCancel(); ours.finish() }
}

func TestRequestContextBehavesLikeWithDeadline(t *testing.T) {
	const d = time.Second
	// Each case returns what it saw; both kinds of context must give the same.
	for name, observe := range map[string]func(ctx context.Context, parentCancel, finish func()) string{
		"err without done": func(ctx context.Context, _, _ func()) string {
			before := ctx.Err()
			time.Sleep(d)
			synctest.Wait()
			return fmt.Sprint(before, ctx.Err(), context.Cause(ctx))
		},
		"done by time": func(ctx context.Context, _, _ func()) string {
			begin := time.Now()
			<-ctx.Done()
			return fmt.Sprint(time.Since(begin), ctx.Err(), context.Cause(ctx))
		},
		"done asked for late": func(ctx context.Context, _, _ func()) string {
			time.Sleep(2 * d)
			<-ctx.Done()
			return fmt.Sprint(ctx.Err())
		},
		"parent cancelled, nobody waiting": func(ctx context.Context, parentCancel, _ func()) string {
			parentCancel()
			err := ctx.Err()
			<-ctx.Done()
			return fmt.Sprint(err, context.Cause(ctx))
		},
		"parent cancelled, somebody waiting": func(ctx context.Context, parentCancel, _ func()) string {
			begin := time.Now()
			done := ctx.Done()
			time.AfterFunc(d/2, parentCancel)
			<-done
			return fmt.Sprint(time.Since(begin), ctx.Err())
		},
		"request ends": func(ctx context.Context, _, finish func()) string {
			done := ctx.Done()
			finish()
			<-done
			time.Sleep(2 * d) // later passing of the deadline changes nothing
			return fmt.Sprint(ctx.Err())
		},
		"request ends, nobody waiting": func(ctx context.Context, _, finish func()) string {
			finish()
			<-ctx.Done()
			return fmt.Sprint(ctx.Err())
		},
		"children": func(ctx context.Context, _, _ func()) string {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			long, cancel2 := context.WithTimeout(ctx, time.Hour)
			defer cancel2()
			short, cancel3 := context.WithTimeout(ctx, d/4)
			defer cancel3()
			deep, cancel4 := context.WithCancelCause(context.WithValue(child, auth.Key{}, nil))
			defer cancel4(nil)
			begin := time.Now()
			ld, _ := long.Deadline()
			<-short.Done()
			shortAfter := time.Since(begin)
			<-deep.Done()
			<-child.Done()
			<-long.Done()
			return fmt.Sprint(shortAfter, short.Err(), time.Since(begin), child.Err(), deep.Err(), context.Cause(deep), long.Err(), ld.Sub(begin))
		},
		"cancelled child leaves the parent alone": func(ctx context.Context, _, _ func()) string {
			child, cancel := context.WithCancel(ctx)
			cancel()
			<-child.Done()
			return fmt.Sprint(child.Err(), ctx.Err())
		},
		"after func": func(ctx context.Context, _, _ func()) string {
			var mu sync.Mutex
			var ran []string
			note := func(s string) func() { return func() { mu.Lock(); ran = append(ran, s); mu.Unlock() } }
			context.AfterFunc(ctx, note("kept"))
			stop := context.AfterFunc(ctx, note("stopped"))
			stopped := stop()
			again := stop()
			time.Sleep(d)
			synctest.Wait()
			late := context.AfterFunc(ctx, note("late"))
			synctest.Wait()
			return fmt.Sprint(stopped, again, late(), ran)
		},
		"values": func(ctx context.Context, _, _ func()) string {
			return fmt.Sprint(ctx.Value(http.LocalAddrContextKey), ctx.Value("none"), ctx.Value(auth.Key{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]string{}
			for _, kind := range []string{"context.WithTimeout", "requestCtx"} {
				synctest.Test(t, func(t *testing.T) {
					parentCancel, all, finish := contexts(t, d)
					seen[kind] = observe(all[kind], parentCancel, finish)
					finish()
					parentCancel()
				})
			}
			if seen["requestCtx"] != seen["context.WithTimeout"] {
				t.Errorf("requestCtx: %s\ncontext.WithTimeout: %s", seen["requestCtx"], seen["context.WithTimeout"])
			}
		})
	}
}

func TestRequestContextWithoutDeadlineIsItsParent(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	ctx := &requestCtx{parent: parent, trace: traceOf(nil), who: &auth.Identity{Name: "a"}}
	ctx.finish()
	if _, ok := ctx.Deadline(); ok || ctx.Err() != nil || ctx.Done() != parent.Done() {
		t.Error("it differs from its parent")
	}
	ran := make(chan struct{})
	context.AfterFunc(ctx, func() { close(ran) })
	child, cancelChild := context.WithTimeout(ctx, time.Hour)
	defer cancelChild()
	cancel()
	<-ran
	<-child.Done()
	if TraceFrom(child) != ctx.trace || auth.IdentityFrom(child).Name != "a" {
		t.Error("values do not reach children")
	}
}

func TestDerivedContextsCostNoGoroutine(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctx := &requestCtx{parent: parent, deadline: time.Now().Add(time.Hour)}
	before := runtime.NumGoroutine()
	for range 100 {
		_, cancel := context.WithCancel(ctx)
		defer cancel()
	}
	if n := runtime.NumGoroutine() - before; n > 50 {
		t.Errorf("%d goroutines for 100 contexts", n)
	}
}

func TestRequestContextUnderContention(t *testing.T) {
	for range 200 {
		parent, cancel := context.WithCancel(context.Background())
		ctx := &requestCtx{parent: parent, deadline: time.Now().Add(50 * time.Microsecond)}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				stop := context.AfterFunc(ctx, func() {})
				ctx.Err()
				<-child.Done()
				stop()
				if ctx.Err() == nil {
					t.Error("done without an error")
				}
			})
		}
		wg.Go(cancel)
		wg.Go(ctx.finish)
		wg.Wait()
	}
}

func sampleLine() *accessLine {
	return &accessLine{
		time: time.Date(2026, 11, 21, 9, 8, 7, 65_432_100, time.FixedZone("", 3600)), service: "order", method: "POST",
		route: "POST /v1/orders/{id}", path: "/v1/orders/7", status: 201, bytesIn: 12, bytesOut: 345, duration: 1_234_567 * time.Nanosecond,
		trace: &Trace{TraceID: [16]byte{0x0a, 15: 0xff}}, remote: "127.0.0.1:5", userAgent: "curl/8", who: &auth.Identity{Name: "bot", Tenant: "acme"},
	}
}

func TestAccessLineLooksLikeThis(t *testing.T) {
	const want = `{"time":"2026-11-21T08:08:07.065432Z","level":"INFO","msg":"request","service":"order","method":"POST",` +
		`"route":"POST /v1/orders/{id}","path":"/v1/orders/7","status":201,"bytes_in":12,"bytes_out":345,"duration_ms":1.234,` +
		`"trace_id":"0a0000000000000000000000000000ff","remote":"127.0.0.1:5","user_agent":"curl/8","caller":"bot","tenant":"acme"}` + "\n"
	if got := string(sampleLine().appendTo(nil)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	l := sampleLine()
	l.status, l.code, l.who, l.userAgent = 504, "deadline_exceeded", nil, ""
	got := string(l.appendTo(nil))
	if !strings.Contains(got, `"level":"ERROR"`) || !strings.HasSuffix(got, `"remote":"127.0.0.1:5","error_code":"deadline_exceeded"}`+"\n") {
		t.Errorf("got %s", got)
	}
}

// checkLine fails unless b is exactly one line of valid JSON and pure text.
func checkLine(t *testing.T, b []byte) map[string]any {
	t.Helper()
	if strings.Count(string(b), "\n") != 1 || b[len(b)-1] != '\n' || len(b) > 4096 {
		t.Fatalf("not one bounded line: %q", b)
	}
	if !utf8.Valid(b) {
		t.Fatalf("invalid UTF-8: %q", b)
	}
	for _, r := range string(b[:len(b)-1]) {
		if !unicode.IsPrint(r) {
			t.Fatalf("%U in %q", r, b)
		}
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return m
}

func TestAccessLineCannotBeForged(t *testing.T) {
	l := sampleLine()
	l.path = "/x\n{\"msg\":\"forged\"}\r\t\x1b[31m\"\\\x00\x7f\u0085\u2028\u202e\xff" + strings.Repeat("é", 300)
	l.userAgent = "a\nb"
	m := checkLine(t, l.appendTo(nil))
	if !strings.HasPrefix(m["path"].(string), "/x\n{\"msg\":\"forged\"}\r\t\x1b[31m\"\\\x00\x7f\u0085\u2028\u202e\ufffd") || !strings.HasSuffix(m["path"].(string), "é…") {
		t.Errorf("path %q", m["path"])
	}
	if m["user_agent"] != "a\nb" {
		t.Errorf("user agent %q", m["user_agent"])
	}
}

func FuzzAccessLine(f *testing.F) {
	f.Add("GET", "/x\n", "agent\"", "\xff\u2028")
	f.Add("\x00", strings.Repeat("\U0001f600", 100), "", "…")
	f.Fuzz(func(t *testing.T, method, path, agent, remote string) {
		l := sampleLine()
		l.method, l.path, l.userAgent, l.remote = method, path, agent, remote
		m := checkLine(t, l.appendTo(nil))
		if len(path) <= maxLoggedPath && utf8.ValidString(path) && m["path"] != path {
			t.Fatalf("path %q became %q", path, m["path"])
		}
	})
}

func TestTracestateIsJoinedAndBounded(t *testing.T) {
	long := "k=" + strings.Repeat("v", 300)
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, ""},
		{[]string{"a=b"}, "a=b"},
		{[]string{"a=b", "c=d,e=f"}, "a=b,c=d,e=f"},
		{[]string{"a=b", long, long}, "a=b," + long},
		{[]string{"k=" + strings.Repeat("v", 510)}, "k=" + strings.Repeat("v", 510)},
		{[]string{"k=" + strings.Repeat("v", 510), "a=b"}, "k=" + strings.Repeat("v", 510)},
		{[]string{"k=" + strings.Repeat("v", 511)}, ""},
	} {
		if got := joinTracestate(c.fields); got != c.want {
			t.Errorf("%q became %q, want %q", c.fields, got, c.want)
		}
	}
}

func TestPropagatedTimeIsReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for d, want := range map[time.Duration]string{
			-time.Second: "0.000000", 0: "0.000000", 345 * time.Microsecond: "0.000345", 90 * time.Second: "90.000000", 1500 * time.Millisecond: "1.500000",
		} {
			ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(d))
			defer cancel()
			h := http.Header{}
			Propagate(ctx, h)
			back, err := ParseRequestTimeout(h.Get("X-Request-Timeout"))
			if got := h.Get("X-Request-Timeout"); got != want || err != nil || back != max(d, 0) {
				t.Errorf("%v travels as %q, want %q, and is read as %v, %v", d, got, want, back, err)
			}
		}
	})
}
