package fault

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// statuszOf is the target's admin port with another /statusz.
func statuszOf(s *target, statusz http.HandlerFunc) http.Handler {
	admin := s.admin()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/statusz" {
			statusz(w, r)
			return
		}
		admin.ServeHTTP(w, r)
	})
}

func TestAServiceWhoseSignsCannotBeReadIsNotTried(t *testing.T) {
	p, s := inProcess(t)
	p.Faults = []Fault{{Name: "slow", Rule: delay(time.Millisecond)}}
	for want, statusz := range map[string]http.HandlerFunc{
		"target at http://127.0.0.1": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"/statusz: status 403 needs the role read; give token_file, a token of the roles read and fault": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(`{"title":"Forbidden","detail":"needs the role read"}`))
		},
	} {
		p.Services[0].Admin = listen(t, statuszOf(s, statusz))[0]
		_, err := Run(t.Context(), p, Options{Journal: t.TempDir()})
		if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	p.Services[0].TokenFile = filepath.Join(t.TempDir(), "none")
	if _, err := Run(t.Context(), p, Options{Journal: t.TempDir()}); !errors.Is(err, ErrTarget) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a token that is not there: %v", err)
	}
	for name, statusz := range map[string]http.HandlerFunc{
		"none":    http.NotFound,
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<h1>all is well</h1>")) },
	} {
		admin := adminClient{base: listen(t, statuszOf(s, statusz))[0]}
		if bare, err := admin.readable(t.Context()); !bare || err != nil {
			t.Errorf("a /statusz that is %s: %v, %v", name, bare, err)
		}
	}
	// One that is slow once is asked again.
	var times atomic.Int64
	admin := adminClient{base: listen(t, statuszOf(s, func(w http.ResponseWriter, r *http.Request) {
		if times.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		w.Write([]byte("{}"))
	}))[0]}
	if bare, err := admin.readable(t.Context()); bare || err != nil {
		t.Errorf("a /statusz that was slow once: %v, %v", bare, err)
	}
}

// What nobody could see is neither detected nor not detected.
func TestSignsThatCannotBeReadInTheMidstAreNotTakenForSilence(t *testing.T) {
	p, s := inProcess(t)
	p.Services[0].Admin = listen(t, statuszOf(s, func(w http.ResponseWriter, _ *http.Request) {
		if len(s.set.Status().Rules) > 0 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Write([]byte(`{"breaker":"closed"}`))
	}))[0]
	p.Faults = []Fault{{Name: "slow", Rule: delay(time.Millisecond)}}
	result := carriedOut(t, p)
	d := result.Rows[0].Detect
	if d.Tries != 0 || d.Seen != 0 || d.Unknown != 2 || d.Why != "target: /statusz: status 403" {
		t.Errorf("%+v", d)
	}
	for _, w := range result.Rows[0].Windows {
		if w.On != (w.Blind != "") {
			t.Errorf("on %v: %q", w.On, w.Blind)
		}
	}
	said := func(text string) bool {
		return slices.ContainsFunc(result.Events, func(e Event) bool { return strings.Contains(e.Text, text) })
	}
	if !said("what it says of itself cannot be read: /statusz: status 403") || !said("can be read again") {
		t.Errorf("%+v", result.Events)
	}
}
