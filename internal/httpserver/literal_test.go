package httpserver

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLiteralPathsAreWhatTheMuxWouldChoose asks a server and a bare mux with the same patterns the same things.
func TestLiteralPathsAreWhatTheMuxWouldChoose(t *testing.T) {
	patterns := []string{"GET /a", "POST /a", "GET /a/{id}", "/a/{rest...}", "GET /b/", "/c", "GET /d%20e", "GET /x/y", "GET  /two", "GET\t/tab"}
	mux := http.NewServeMux()
	s, err := New(testConfig(), Deps{AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range patterns {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, pattern, " ", r.Pattern) })
		mux.Handle(pattern, h)
		s.Handle(pattern, "", h)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "get"} {
		for _, path := range []string{"/a", "/a/", "/a/b", "/A", "//a", "/./a", "/a%2f", "/%61", "/b", "/b/", "/b/c", "/c", "/c/", "/d%20e", "/d e", "/x/y", "/x%2Fy", "/x//y", "/x/../x/y", "/two", "/tab", "/q//r", "/q/r", "*"} {
			want, got := httptest.NewRecorder(), httptest.NewRecorder()
			request := func() *http.Request {
				r := httptest.NewRequest(method, strings.ReplaceAll(path, " ", "%20"), nil)
				return r
			}
			mux.ServeHTTP(want, request())
			s.ServeHTTP(got, request())
			if got.Code != want.Code || want.Code == 200 && got.Body.String() != want.Body.String() || got.Header().Get("Location") != want.Header().Get("Location") {
				t.Errorf("%s %s: %d %q, the mux answers %d %q", method, path, got.Code, got.Body, want.Code, want.Body)
			}
		}
	}
}
