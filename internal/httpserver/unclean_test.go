package httpserver

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/problem"
)

// ownForm is a handler whose protocol has errors of its own.
type ownForm struct{ t *testing.T }

func (o ownForm) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	o.t.Error("the handler was asked:", r.URL)
}

func (ownForm) WriteProblem(w http.ResponseWriter, p *problem.Problem) {
	w.WriteHeader(p.Status)
	_, _ = io.WriteString(w, "own form: "+p.Code)
}

func TestUncleanPathsAreNotFoundInTheFormOfTheirRoute(t *testing.T) {
	r := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("POST /v2/models/{model}/infer", "", ownForm{t})
		s.Handle("/v2/", "", ownForm{t})
		s.Handle("GET /plain", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was asked") }))
	})
	n := 0
	for _, c := range []struct {
		path string
		own  bool
	}{
		{"/v2/models//infer", true}, {"//v2/models/m/infer", true}, {"/v2/./x", true}, {"/v2/models/../models/m/infer", true}, {"/v2//", true}, {"/v2/models/a%2Fb//infer", true},
		{"//plain", false}, {"/plain/.", false}, {"/nowhere//", false}, {"/v2/..", false}, {"/../..", false},
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			a := do(t, method, r.url+c.path, "")
			n++
			if own := a.body == "own form: not_found"; a.StatusCode != 404 || own != c.own {
				t.Errorf("%s %s: %d %s", method, c.path, a.StatusCode, a.body)
			}
			if !c.own {
				a.wantProblem(t, 404, "not_found")
			}
			if a.Header.Get("X-Request-Id") == "" || strings.Contains(a.body, "<a") {
				t.Errorf("%s %s: %v %s", method, c.path, a.Header, a.body)
			}
		}
	}
	if out := r.seen.wait(t, otherRoute, n); out[0].Status != 404 {
		t.Errorf("observed %+v", out[0])
	}
}
