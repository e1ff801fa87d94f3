package httpserver

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPathsAreWhatTheMuxWouldChoose asks a server and a bare mux with the same patterns the same things. Only paths that
// are not clean are answered in another way.
func TestPathsAreWhatTheMuxWouldChoose(t *testing.T) {
	patterns := []string{"GET /a", "POST /a", "GET /a/{id}", "/a/{rest...}", "GET /b/", "/c", "GET /d%20e", "GET /x/y", "GET  /two", "GET\t/tab",
		"POST /m/{model}", "POST /m/{model}/v/{version}", "POST /m/stats", "POST /m/{model}/v/last", "POST /m/x/v/{version}/{$}", "POST /m/{model}/v/{version}/{rest...}", "POST /n/{model}/{what}/{version}/a/b/c/d/e/f",
		"POST /m/{a}/p%20q/{b}", "DELETE /p/{a}", "DELETE /p/{a}/{b}", "DELETE /p/{a}/b", "PATCH /q/{rest...}",
		"OPTIONS /e/{a}", "OPTIONS /e/p%20q", "OPTIONS /e/p%20q/{b}", "OPTIONS /e/{a}/{b}"}
	mux := http.NewServeMux()
	s, err := New(testConfig(), Deps{AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range patterns {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, pattern, " ", r.Pattern)
			for _, name := range []string{"id", "rest", "model", "version", "what", "a", "b"} {
				fmt.Fprintf(w, " %s=%q", name, r.PathValue(name))
			}
		})
		mux.Handle(pattern, h)
		s.Handle(pattern, "", h)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "get", "DELETE", "PATCH", "OPTIONS"} {
		for _, path := range []string{"/a", "/a/", "/a/b", "/A", "//a", "/./a", "/a%2f", "/%61", "/b", "/b/", "/b/c", "/c", "/c/", "/d%20e", "/d e", "/x/y", "/x%2Fy", "/x//y", "/x/../x/y", "/two", "/tab", "/q//r", "/q/r", "*", "/p/1", "/p/b/b", "/p/b/c", "/e/1", "/e/p q", "/e/p%20q", "/e/p q/1", "/e/1/2",
			"/m", "/m/", "/m/stats", "/m/x", "/m/a b", "/m/a%2fb", "/m/a%25b", "/m/é", "/m/./v/1", "/m/x/v/..", "/m//v/1", "/m/x/v/1", "/m/x/v/last", "/m/x/v/1/", "/m/x/v/1/2/3", "/n/x/w/1/a/b/c/d/e/f", "/n/x", "/m/x/p%20q/b", "/m/x/p q/b"} {
			want, got := httptest.NewRecorder(), httptest.NewRecorder()
			request := func() *http.Request {
				r := httptest.NewRequest(method, strings.ReplaceAll(path, " ", "%20"), nil)
				return r
			}
			mux.ServeHTTP(want, request())
			s.ServeHTTP(got, request())
			if _, unclean := cleaned(request()); unclean { // the mux sends them elsewhere
				if want.Code != 307 || got.Code != 404 || got.Header().Get("Location") != "" || !strings.Contains(got.Body.String(), "empty segment") {
					t.Errorf("%s %s: %d %q, the mux answers %d", method, path, got.Code, got.Body, want.Code)
				}
				continue
			}
			if got.Code != want.Code || want.Code == 200 && got.Body.String() != want.Body.String() || got.Header().Get("Location") != want.Header().Get("Location") {
				t.Errorf("%s %s: %d %q, the mux answers %d %q", method, path, got.Code, got.Body, want.Code, want.Body)
			}
		}
	}
}
