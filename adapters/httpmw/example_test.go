package httpmw_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/dougong-io/dougong/adapters/httpmw"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/dougong-io/dougong/kit/limit"
)

// A server whose routes have a limit together and a circuit each.
func Example_server() {
	l, _ := limit.New(limit.DefaultConfig())
	g, _ := breaker.New[string](breaker.DefaultPolicy())
	admit := httpmw.Limit(l, httpmw.LimitOptions{})
	guard := httpmw.Breaker(g, httpmw.ByPattern, httpmw.BreakerOptions{})
	mux := http.NewServeMux()
	mux.Handle("GET /hello", admit(guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/hello", nil))
	l.Close() // as a server does that stops
	refused := httptest.NewRecorder()
	mux.ServeHTTP(refused, httptest.NewRequest("GET", "/hello", nil))
	fmt.Println(w.Body, refused.Code, refused.Header().Get("Retry-After") != "") // one second or two, so that not all come back at once
	// Output: hello 503 true
}

// A client with a circuit and a limit for each host, and old pages for when there are no new ones.
func ExampleNewClient() {
	g, _ := breaker.New[string](breaker.DefaultPolicy())
	limits, _ := httpmw.PerHost(limit.DefaultConfig(), 100)
	pages, _ := httpmw.NewFallback(httpmw.FallbackOptions{Config: fallback.DefaultConfig()})
	config, _ := httpmw.ClientPreset(httpmw.PresetGateway)
	client, err := httpmw.NewClient(config, httpmw.WithBreaker(g, httpmw.ByHost), httpmw.WithLimit(limits, nil), httpmw.WithFallback(pages))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()

	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the page") }))
	show := func() {
		resp, err := client.Get(s.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		page, _ := io.ReadAll(resp.Body)
		fmt.Printf("%s, served by %q\n", page, resp.Header.Get(httpmw.ServedByHeader))
	}
	show()
	s.Close()
	show()
	// Output:
	// the page, served by ""
	// the page, served by "cached"
}
