package httpmw

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
)

func BenchmarkServer(b *testing.B) {
	l, _ := limit.New(limit.DefaultConfig())
	g, _ := breaker.New[string](breaker.DefaultPolicy())
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	for name, h := range map[string]http.Handler{
		"bare":    bare,
		"limit":   Limit(l, LimitOptions{})(bare),
		"breaker": Breaker(g, ByPattern, BreakerOptions{})(bare),
		"both":    Limit(l, LimitOptions{})(Breaker(g, ByPattern, BreakerOptions{})(bare)),
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			w := &nowhere{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

type nowhere struct{ h http.Header }

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

func BenchmarkTransport(b *testing.B) {
	g, _ := breaker.New[string](breaker.DefaultPolicy())
	l, _ := limit.New(limit.DefaultConfig())
	base := tripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ContentLength: 2, Body: empty{}}, nil
	})
	t := NewTransport(base, WithBreaker(g, ByHost), WithLimit(func(*http.Request) *limit.Limit { return l }, nil))
	r, _ := http.NewRequestWithContext(b.Context(), "GET", "http://h/", nil)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := t.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }
func (empty) Close() error             { return nil }
