package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

func TestACoinForEachPairSaysWhetherTheFaultComesFirst(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(1600) {
		first := orders(4, rand.New(rand.NewPCG(seed, 1)))
		if again := orders(4, rand.New(rand.NewPCG(seed, 1))); !slices.Equal(first, again) {
			t.Fatalf("seed %d: %v, then %v", seed, first, again)
		}
		seen[fmt.Sprint(first)]++
	}
	for order, n := range seen {
		if n < 60 || n > 140 { // of 100; with these seeds the least and most are known
			t.Errorf("%s came %d times", order, n)
		}
	}
	if len(seen) != 16 {
		t.Errorf("of the sixteen orders of four pairs there are %d", len(seen))
	}
}

// filled is a recorder with requests every 10 ms, each of which takes what latency says; below zero it fails.
func filled(length time.Duration, latency func(at time.Duration) time.Duration) *recorder {
	zero := time.Now()
	r := &recorder{settled: time.Second}
	r.begin(zero)
	for at := time.Duration(0); at < length; at += 10 * time.Millisecond {
		e := load.Ended{Due: zero.Add(at), Sent: zero.Add(at), At: zero.Add(at + latency(at))}
		if latency(at) < 0 {
			e.At, e.Class, e.Status = e.Due, load.ClassStatus, "503"
		}
		r.ended(e)
	}
	return r
}

func TestRecoveryIsWhenTheLoadIsAsBefore(t *testing.T) {
	const lifted = 10 * time.Second
	for name, c := range map[string]struct {
		latency func(time.Duration) time.Duration
		well    time.Duration // when the service says so; 0: all the time
		want    time.Duration // after lifted; below 0: never
	}{
		"at once": {func(time.Duration) time.Duration { return 2 * time.Millisecond }, 0, 0},
		"slow for 2 s": {func(at time.Duration) time.Duration {
			if at > 9*time.Second && at < 12*time.Second {
				return 8 * time.Millisecond
			}
			return 2 * time.Millisecond
		}, 0, 2 * time.Second},
		"failing for 1 s": {func(at time.Duration) time.Duration {
			if at >= 10*time.Second && at < 11*time.Second {
				return -1
			}
			return 2 * time.Millisecond
		}, 0, time.Second},
		"good for a moment in between": {func(at time.Duration) time.Duration {
			if at >= 10*time.Second && at < 12*time.Second && (at < 10500*time.Millisecond || at > 11100*time.Millisecond) {
				return 20 * time.Millisecond
			}
			return 2 * time.Millisecond
		}, 0, 2 * time.Second},
		"not ready for longer than slow": {func(time.Duration) time.Duration { return 2 * time.Millisecond }, 13 * time.Second, 3 * time.Second},
		"never": {func(at time.Duration) time.Duration {
			if at > 9*time.Second {
				return 9 * time.Millisecond
			}
			return 2 * time.Millisecond
		}, 0, -1},
	} {
		rec := filled(20*time.Second, c.latency)
		p := shortPlan()
		p.Load.Rate = 100
		w := &watcher{name: "a"}
		for at, signs := range map[time.Duration][]string{9 * time.Second: {signNotReady}, c.well: nil} {
			if c.well > 0 {
				w.changes = append(w.changes, change{at: rec.zero.Add(at), signs: signs})
			}
		}
		slices.SortFunc(w.changes, func(a, b change) int { return a.at.Compare(b.at) })
		r := &runner{plan: &p, rec: rec, watchers: map[string]*watcher{"a": w}, normal: []stretch{{rec.zero, rec.zero.Add(8 * time.Second)}}}
		try := &try{from: rec.zero.Add(lifted), before: map[string][]string{}, band: r.usual()}
		end := rec.zero.Add(20 * time.Second)
		try.settled = end
		at, ok := r.recoveredAt(&row{}, try, end, end)
		switch got := at.Sub(try.from); {
		case ok != (c.want >= 0):
			t.Errorf("%s: %v %v, want %v", name, ok, got, c.want)
		case ok && (got < c.want || got > c.want+binLength):
			t.Errorf("%s: recovered after %v, want %v", name, got, c.want)
		}
		if ok && c.well == 0 { // and it is not said before it is known
			if early, ok := r.recoveredAt(&row{}, try, at.Add(500*time.Millisecond), at.Add(500*time.Millisecond)); ok {
				t.Errorf("%s: said to have recovered at %v half a second after", name, early.Sub(rec.zero))
			}
		}
	}
}

func TestASpanWhoseRequestsHaveNotEndedIsNotNormal(t *testing.T) {
	n := bandOf([]bin{*spanOf(50, 2*time.Millisecond)})
	least := leastIn(5, 100, false)
	if !n.holds(spanOf(50, 2*time.Millisecond), least) || n.holds(spanOf(40, 2*time.Millisecond), least) || n.holds(spanOf(50, 5*time.Millisecond), least) {
		t.Errorf("%+v, at least %d", n, least)
	}
	if n.holds(new(bin), 0) {
		t.Error("nothing at all is normal")
	}
}

func spanOf(n int, latency time.Duration) *bin {
	b := new(bin)
	for range n {
		b.count(&load.Ended{At: time.Unix(0, int64(latency)), Due: time.Unix(0, 0)})
	}
	return b
}

func TestWindowsHoldWhatWasDueInThem(t *testing.T) {
	zero := time.Now()
	r := &recorder{settled: time.Second}
	r.begin(zero)
	ms := func(n int) time.Time { return zero.Add(time.Duration(n) * time.Millisecond) }
	first, second := r.open(ms(100), ms(200)), r.open(ms(300), ms(400))
	for _, e := range []load.Ended{
		{Due: ms(99), At: ms(150)},
		{Due: ms(100), Sent: ms(100), At: ms(102), Status: "200"},
		{Due: ms(199), Sent: ms(199), At: ms(350), Status: "200", Marked: true}, // ends in the other window
		{Due: ms(200), At: ms(201)},
		{Due: ms(300), Sent: ms(300), At: ms(301), Class: load.ClassStatus, Status: "503"},
		{Due: ms(310), Sent: ms(310), At: ms(320), Class: load.ClassReset},
		{Due: ms(320), Sent: ms(320), At: ms(1320), Class: load.ClassTimeout},
		{Due: ms(330), At: ms(1330), Class: load.ClassTimeout}, // never sent
		{Due: ms(340), At: ms(341), Class: load.ClassRefused},
		{Due: ms(350), At: ms(351), Class: load.ClassLocal},
		{Due: ms(360), At: ms(361), Unfinished: true},
		{Due: ms(400), At: ms(401)},
	} {
		r.ended(e)
	}
	a, b := first.counts, second.counts
	if a.Sent != 2 || a.Answered != 2 || a.Degraded != 1 || a.Errors+a.Timeouts+a.Lost != 0 || a.Latency.Max() != int64(151*time.Millisecond) {
		t.Errorf("%+v", a)
	}
	if b.Sent != 5 || b.Answered != 0 || b.Errors != 3 || b.Timeouts != 2 || b.Lost != 2 || b.Latency.Count() != 2 {
		t.Errorf("%+v", b)
	}
}

func TestSignsAreWhatAServiceDoesNotSayWhenItIsWell(t *testing.T) {
	for want, c := range map[string]struct {
		code            int
		readyz, statusz string
	}{
		"":                                {200, `{"state":"Ready"}`, `{"services":[{"state":"Ready","breaker":"closed"}]}`},
		"not ready; state Draining":       {503, `{"state":"Draining"}`, `{}`},
		"state Degraded":                  {200, `{"state":"Degraded"}`, `not even JSON`},
		"circuit half-open; circuit open": {200, `{"state":"Ready"}`, `{"services":[{"status":{"models":[{"breaker":"open"},{"breaker":"half-open"},{"breaker":"open"}]}}]}`},
		"circuit open":                    {200, ``, `{"circuits":{"bank":{"state":"open","name":"open"}},"door":"open"}`},
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.code)
			w.Write([]byte(c.readyz))
		})
		mux.HandleFunc("/statusz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(c.statusz)) })
		admin := adminClient{base: listen(t, mux)[0]}
		if got := strings.Join(admin.look(context.Background(), true).signs, "; "); got != want {
			t.Errorf("%s, %s: %q, want %q", c.readyz, c.statusz, got, want)
		}
	}
	if got := (adminClient{base: "http://127.0.0.1:1"}).look(context.Background(), true); !slices.Equal(got.signs, []string{signSilent}) || got.blind != nil {
		t.Errorf("of nobody: %+v", got)
	}
}

func TestWatcherKeepsWhatChanged(t *testing.T) {
	zero := time.Now()
	at := func(s int) time.Time { return zero.Add(time.Duration(s) * time.Second) }
	w := &watcher{name: "a"}
	for i, signs := range [][]string{nil, nil, {"state Degraded"}, {"circuit open", "state Degraded"}, {"state Degraded"}, nil} {
		w.saw(at(i).Add(-time.Millisecond), at(i), look{signs: signs})
	}
	if len(w.changes) != 5 {
		t.Errorf("%+v", w.changes)
	}
	if c, sign, ok := w.firstNew(at(1), nil); !ok || c.at != at(2) || sign != "state Degraded" {
		t.Error(c, sign, ok)
	}
	if c, sign, ok := w.firstNew(at(1), []string{"state Degraded"}); !ok || c.at != at(3) || sign != "circuit open" {
		t.Error(c, sign, ok)
	}
	if _, _, ok := w.firstNew(at(4), []string{"state Degraded"}); ok {
		t.Error("a sign that was known is news")
	}
	if got, ok := w.wellBy(at(1), at(9), nil); !ok || got != at(5) {
		t.Error(got, ok)
	}
	if _, ok := w.wellBy(at(1), at(4), nil); ok {
		t.Error("well while it is degraded")
	}
	if got, ok := w.wellBy(at(1), at(4), []string{"state Degraded"}); !ok || got != at(4) {
		t.Error(got, ok)
	}
	if got, ok := w.wellBy(at(7), at(9), nil); !ok || got != at(7) {
		t.Error(got, ok)
	}
}

const (
	mountsV1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs ro,mode=755\n32 31 0:29 / ROOT/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 / ROOT/memory rw - cgroup cgroup rw,memory\n"
	mineV1   = "4:memory:/jobs/a\n1:cpu,cpuacct:/\n0::/\n"
	mountsV2 = "30 23 0:26 / ROOT rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mineV2   = "0::/system.slice/prover.service\n"
)

func TestControlGroupsAreMadeWhereTheyCanBe(t *testing.T) {
	for _, c := range []struct{ name, mine, mounts, controller, folders, enabled, want string }{
		{"v1, at the root", mineV1, mountsV1, "cpu", "cpu", "", "cpu/x from cpu"},
		{"v1, below a group", mineV1, mountsV1, "memory", "memory/jobs/a", "", "memory/jobs/a/x from memory/jobs/a"},
		{"v1, a group that this namespace does not see", mineV1, mountsV1, "memory", "memory", "", "memory/x from memory"},
		{"v2, beside the group", mineV2, mountsV2, "cpu", "system.slice/prover.service", "cpu memory", "system.slice/x from system.slice/prover.service, second"},
		{"v2, not enabled", mineV2, mountsV2, "cpu", "system.slice/prover.service", "memory", "the controller cpu is not enabled for groups below"},
		{"nowhere", mineV1, mountsV1, "io", "cpu", "", "no control groups with io are mounted"},
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, c.folders), 0o700); err != nil {
			t.Fatal(err)
		}
		if c.enabled != "" {
			if err := os.WriteFile(filepath.Join(root, filepath.Dir(c.folders), "cgroup.subtree_control"), []byte(c.enabled+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := findPlace(c.mine, strings.ReplaceAll(c.mounts, "ROOT", root), c.controller, "x")
		got := strings.ReplaceAll(p.dir+" from "+p.home, root+"/", "")
		if p.second {
			got += ", second"
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	file, value := place{dir: "/g"}.cpuLimit(0.25)
	file2, value2 := place{dir: "/g", second: true}.cpuLimit(0.25)
	file3, value3 := place{dir: "/g", second: true}.memoryLimit(1 << 20)
	if file != "/g/cpu.cfs_quota_us" || value != "25000" || file2 != "/g/cpu.max" || value2 != "25000 100000" || file3 != "/g/memory.max" || value3 != "1048576" {
		t.Error(file, value, file2, value2, file3, value3)
	}
}

func FuzzFindPlace(f *testing.F) {
	f.Add(mineV1, mountsV1, "cpu")
	f.Add(mineV2, mountsV2, "memory")
	f.Add("::\n", " - cgroup2 \n", "")
	f.Fuzz(func(t *testing.T, mine, mounts, controller string) {
		if p, err := findPlace(mine, mounts, controller, "x"); err == nil && filepath.Base(p.dir) != "x" {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzRule(f *testing.F) {
	f.Add([]byte(`{"point":"a.b","where":{"tenant":"x"},"delay":{"fixed":"5ms"}}`))
	f.Add([]byte(`{"point":"*","error":{"http_status":503},"every":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Rule
		if r.UnmarshalJSON(text) != nil {
			return
		}
		if _, err := r.MarshalJSON(); err != nil {
			t.Error(err)
		}
		_ = r.inWords()
	})
}

func TestReactionsAreSummedUp(t *testing.T) {
	r := Reactions{Tries: 4}
	for _, s := range []int{3, 1, 2} {
		r.saw(time.Duration(s) * time.Second)
	}
	r.sum()
	if r.Seen != 3 || r.Median != 2 || r.Worst != 3 || !slices.Equal(r.Seconds, []float64{3, 1, 2}) {
		t.Errorf("%+v", r)
	}
}

func TestTimelineJoinsBins(t *testing.T) {
	r := filled(3*time.Second, func(at time.Duration) time.Duration {
		if at >= time.Second && at < 2*time.Second {
			return -1
		}
		return 2 * time.Millisecond
	})
	points, each := r.points(3 * time.Second)
	if len(points) != 3 || each != time.Second || points[0].OK != 100 || points[1].Errors != 100 || points[1].P50 != 0 || points[2].At != 2 || points[2].P50 < 1.9 || points[2].P50 > 2.1 {
		t.Errorf("%+v, %v", points, each)
	}
	if points, each := r.points(3 * time.Hour); len(points) > maxPoints || each != 4*time.Second {
		t.Error(len(points), each)
	}
}

func TestWatcherKnowsWhenItWasBlind(t *testing.T) {
	zero := time.Now()
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	w := &watcher{name: "a"}
	saw := func(asked, answered int, l look) { w.saw(at(asked), at(answered), l) }
	saw(0, 5, look{signs: []string{"circuit open"}})
	saw(50, 55, look{blind: errNoJSON, signs: []string{"state Degraded"}})
	saw(100, 105, look{blind: errNoJSON})
	if got := w.now(); !slices.Equal(got, []string{"circuit open"}) {
		t.Errorf("a circuit that cannot be seen is taken for %q", got)
	}
	saw(150, 155, look{})
	saw(200, 700, look{signs: []string{signSilent}})
	for _, c := range []struct {
		from, to int
		blind    bool
	}{{-9, -1, false}, {-9, 10, true}, {60, 70, true}, {140, 150, true}, {156, 900, false}} {
		if got := w.blindIn(at(c.from), at(c.to)); (got != "") != c.blind {
			t.Errorf("from %d to %d: %q", c.from, c.to, got)
		}
	}
	// The time of a sign is known to no better than since it was asked before.
	if c, sign, ok := w.firstNew(at(160), nil); !ok || sign != signSilent || c.at.Sub(c.since) != 550*time.Millisecond {
		t.Errorf("%+v, %s, %v", c, sign, ok)
	}
}

// A rule is in force before the call that puts it is answered, and so may be its detection.
func TestDetectionBeforeThePutIsAnsweredCounts(t *testing.T) {
	rec := filled(3*time.Second, func(time.Duration) time.Duration { return 2 * time.Millisecond })
	at := func(ms int) time.Time { return rec.zero.Add(time.Duration(ms) * time.Millisecond) }
	w := &watcher{name: "a"}
	w.saw(at(0), at(5), look{})
	w.saw(at(950), at(1020), look{signs: []string{"state Degraded"}})
	p := shortPlan()
	r := &runner{plan: &p, rec: rec, watchers: map[string]*watcher{"a": w}}
	try := &try{on: true, begun: at(1000), applied: at(1060), lifted: at(2000), from: at(2000), before: map[string][]string{}}
	r.detect(&row{}, try)
	made := &row{Row: Row{Kind: KindRule}}
	r.react(made, try, new(Window), at(3000))
	d := made.Detect
	d.sum()
	if d.Tries != 1 || d.Seen != 1 || d.Median != 0.02 || d.Step != 1.02 || d.Steps["state Degraded"] != 1.02 {
		t.Errorf("%+v", d)
	}
}
