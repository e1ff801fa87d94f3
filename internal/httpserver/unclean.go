package httpserver

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/dougong-io/dougong/kit/problem"
)

// cleaned returns the escaped path to which http.ServeMux would send a request whose own has empty segments, . or .. in
// it; ok is false if it is clean.
func cleaned(r *http.Request) (clean string, ok bool) {
	if r.Method == http.MethodConnect || !strings.Contains(r.URL.Path, "//") && !strings.Contains(r.URL.Path, "/.") {
		return "", false
	}
	escaped := r.URL.EscapedPath()
	clean = path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	return clean, clean != escaped
}

// unclean answers 404 in the form of the route that would be found at the clean path. The mux would send the client
// there, with a page of HTML: what is left out of a path is a mistake more often than not, and an empty name in
// /models//infer is none of the paths that are served.
func (s *Server) unclean(x *exchange, r *http.Request, clean string) {
	var form http.Handler
	if there, err := url.ParseRequestURI(clean); err == nil {
		handler, _ := s.mux.Handler(&http.Request{Method: r.Method, Host: r.Host, URL: there})
		if rt, ok := handler.(*route); ok {
			form = rt.Handler
		}
	}
	x.failAs(form, &problem.Problem{
		Status: http.StatusNotFound, Code: "not_found",
		Detail: "nothing is served at this path: it has an empty segment, . or .. in it",
	})
}
