package fault

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
)

// A rule whose call was cut off arrives when it was taken back already.
func TestARuleThatArrivesLateIsTakenBackToo(t *testing.T) {
	s, err := newTarget()
	if err != nil {
		t.Fatal(err)
	}
	defer s.set.Close()
	s.set.Point(pointIdle)
	var asked atomic.Int64
	admin := s.admin()
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admin.ServeHTTP(w, r)
		if r.Method == http.MethodDelete && asked.Add(1) == 1 {
			rule := inject.Rule{ID: "late", Point: "target.idle", For: time.Minute, Hang: &inject.Hang{}}
			if err := s.set.Put(inject.Admin, rule); err != nil {
				t.Error(err)
			}
		}
	}))[0]
	r := reverter{journal: newJournal(t, t.TempDir(), "a"), run: "a"}
	e := entry{Op: opRule, Admin: url, ID: "late"}
	e.N, e.At = written(t, r.journal, e), time.Now()
	if err := r.one(t.Context(), e); err != nil || len(s.set.Status().Rules) > 0 {
		t.Errorf("%v: %+v", err, s.set.Status().Rules)
	}
	// What was answered is there, or is not; what was sent long ago has arrived.
	for name, e := range map[string]entry{"answered": {At: time.Now(), answered: true}, "long ago": {At: time.Now().Add(-lateArrival)}} {
		before := asked.Load()
		e.Op, e.Admin, e.ID = opRule, url, "none"
		e.N = written(t, r.journal, e)
		if err := r.one(t.Context(), e); err != nil || asked.Load() != before+1 {
			t.Errorf("%s: %v, asked %d times", name, err, asked.Load()-before)
		}
	}
}

// On this machine a rule ends at a time, however late it arrives.
func TestARuleEndsWhenItWasToWhereClocksAreOne(t *testing.T) {
	now := time.Now()
	l := ruleLever{id: "x", lasts: time.Minute, admin: adminClient{base: "http://127.0.0.1:9090"}, rule: inject.Rule{Point: "a.b", Hang: &inject.Hang{}}}
	if rule, expires := l.bounded(now); rule.For != 0 || rule.Expires != now.Add(time.Minute) || expires != rule.Expires || rule.ID != "x" {
		t.Errorf("%+v, %v", rule, expires)
	}
	l.admin.base = "https://example.org"
	if rule, expires := l.bounded(now); rule.For != time.Minute || !rule.Expires.IsZero() || expires != now.Add(time.Minute+adminPatience) {
		t.Errorf("%+v, %v", rule, expires)
	}
}
