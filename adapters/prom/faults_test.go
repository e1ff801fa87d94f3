package prom

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// scrapeOnce is a scrape with what came of it.
func scrapeOnce(ctx context.Context, r *Registry, faults *fault.Set) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.Handler(WithFaults(faults)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil).WithContext(ctx))
	return w
}

// TestEveryPointIsTripped strikes each point by name and looks at what comes of it.
func TestEveryPointIsTripped(t *testing.T) {
	whole := scrapeOnce(t.Context(), New(), nil).Body.String()
	if whole == "" {
		t.Fatal("no metrics")
	}
	var cases []faultrules.Case
	for effect, check := range map[string]func(*testing.T, *httptest.ResponseRecorder){
		`"error":{}`: func(t *testing.T, w *httptest.ResponseRecorder) {
			if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"injected_fault"`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		},
		`"error":{"http_status":503,"retry_after":"2s"}`: func(t *testing.T, w *httptest.ResponseRecorder) {
			if w.Code != 503 || w.Header().Get("Retry-After") != "2" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		},
		`"truncate":{"after":100}`: func(t *testing.T, w *httptest.ResponseRecorder) {
			if w.Code != 200 || w.Body.Len() != 100 || w.Header().Get("Content-Length") != "100" || !strings.HasPrefix(whole, w.Body.String()[:50]) {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		},
		`"corrupt":{"offset":2,"mode":"zero"}`: func(t *testing.T, w *httptest.ResponseRecorder) {
			if w.Code != 200 || w.Body.String()[:4] != "# \x00E" {
				t.Errorf("%d %q", w.Code, w.Body.String()[:4])
			}
		},
	} {
		cases = append(cases, faultrules.Case{Point: "prom.scrape", Effect: effect, Check: func(t *testing.T, faults *fault.Set) {
			r := New()
			check(t, scrapeOnce(t.Context(), r, faults))
			faultrules.Put(t, faults)
			if w := scrapeOnce(t.Context(), r, faults); w.Code != 200 || strings.Contains(w.Body.String(), "\x00") {
				t.Errorf("without rules: %d", w.Code)
			}
		}})
	}
	faultrules.Trip(t, cases)
}

// TestScrapesThatHangEndWithTheirScrapers, and give their places back; so do those that panic.
func TestScrapesThatHangEndWithTheirScrapers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults, r := faulttest.New(t), New()
		faultrules.Put(t, faults, `{"point":"prom.scrape","hang":{}}`)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		answers := make(chan string)
		for range maxGathers + 1 {
			go func() { answers <- scrapeOnce(ctx, r, faults).Body.String() }()
		}
		synctest.Wait()
		if hung := faulttest.Hits(faults, "prom.scrape"); hung != maxGathers {
			t.Errorf("%d scrapes hang, want %d: they have their places", hung, maxGathers)
		}
		canceled, full := 0, 0
		for range maxGathers + 1 {
			switch a := <-answers; {
			case strings.Contains(a, `"code":"canceled"`):
				canceled++
			case strings.Contains(a, `"code":"scrapes_full"`):
				full++
			default:
				t.Errorf("answered %s", a)
			}
		}
		if canceled+full != maxGathers+1 || canceled < maxGathers {
			t.Errorf("%d hung, %d found no place", canceled, full)
		}
		faultrules.Put(t, faults, `{"point":"prom.scrape","panic":{}}`)
		for range maxGathers {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				scrapeOnce(t.Context(), r, faults)
			}()
		}
		faultrules.Put(t, faults)
		if w := scrapeOnce(t.Context(), r, faults); w.Code != 200 {
			t.Errorf("afterwards: %d", w.Code)
		}
	})
}

func TestFaultsAreCounted(t *testing.T) {
	r := New()
	m := NewFaults(r)
	set := faulttest.New(t, fault.WithObserver(m.Observer()))
	m.Watch(set)
	point := set.Point(fault.Def{Name: "shop.order", Doc: "For tests.", Attrs: []string{"sku"}, Effects: fault.Call})
	faultrules.Put(t, set, `{"point":"shop.*","error":{},"count":2}`, `{"point":"shop.*","memory":{"bytes":4096}}`, `{"point":"bank.*","panic":{}}`)
	for range 4 {
		_ = point.Hit(t.Context(), fault.Attr{Key: "sku", Value: "4711"})
	}
	if err := set.Kill(fault.Etcd, true); err != nil {
		t.Fatal(err)
	}
	if err := set.Kill(fault.Etcd, false); err != nil {
		t.Fatal(err)
	}
	_ = point.Hit(t.Context())
	lines := scrape(t, r, "dougong_fault_")
	for _, want := range []string{
		`dougong_fault_hits_total{effect="error",point="shop.order"} 2`,
		`dougong_fault_hits_total{effect="memory",point="shop.order"} 3`,
		`dougong_fault_rules{source="admin",state="active"} 1`,
		`dougong_fault_rules{source="admin",state="exhausted"} 1`,
		`dougong_fault_rules{source="admin",state="unmatched"} 1`,
		`dougong_fault_rules{source="etcd",state="active"} 0`,
		`dougong_fault_killed{source="etcd"} 0`,
		`dougong_fault_changes_total{source="admin",state="active"} 2`,
		`dougong_fault_changes_total{source="admin",state="exhausted"} 1`,
		`dougong_fault_changes_total{source="admin",state="unmatched"} 1`,
		`dougong_fault_changes_total{source="etcd",state="killed"} 1`,
		`dougong_fault_changes_total{source="etcd",state="released"} 1`,
		`dougong_fault_held{resource="calls"} 0`,
		`dougong_fault_held{resource="memory_bytes"} 4096`,
	} {
		if !strings.Contains(lines, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, lines)
		}
	}
	if err := set.Kill(fault.Admin, true); err != nil {
		t.Fatal(err)
	}
	lines = scrape(t, r, "dougong_fault_")
	for _, want := range []string{`dougong_fault_killed{source="admin"} 1`, `dougong_fault_held{resource="memory_bytes"} 0`, `dougong_fault_rules{source="admin",state="killed"} 2`} {
		if !strings.Contains(lines, want+"\n") {
			t.Errorf("killed: there is no %s in\n%s", want, lines)
		}
	}
	if strings.Contains(lines, "4711") {
		t.Error("an attribute is a label")
	}
}
