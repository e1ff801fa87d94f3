package report_test

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/report"
)

// press opens every table, then moves over every chart by keyboard and pointer, turns a series off and on, and looks
// at the uncorrected clock. What the tooltips said is kept in data-tips.
const press = `
for (const b of document.querySelectorAll("figure [aria-expanded]")) b.click();
const tips = [];
for (const svg of document.querySelectorAll(".plot > svg")) {
  for (const key of ["ArrowRight", "ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home", "x", "Escape", "End"]) svg.dispatchEvent(new KeyboardEvent("keydown", { key }));
  tips.push(svg.parentNode.querySelector(".tip").textContent);
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 9 }));
  svg.dispatchEvent(new PointerEvent("pointerleave"));
}
document.documentElement.dataset.tips = tips.join("|");
for (const id of ["latency", "rate"]) {
  const lines = () => document.querySelectorAll("#" + id + " .plot [data-series]").length;
  const before = lines(), first = () => document.querySelector("#" + id + " .legend button");
  first().click();
  if (lines() >= before) throw new Error("a series turned off is still drawn in " + id);
  first().click();
  if (lines() !== before) throw new Error("a series turned on again is not drawn in " + id);
}
document.querySelector("#theme").click();
document.querySelector("#theme").click();
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) throw new Error("wider than the window: " + document.documentElement.scrollWidth);
`

func TestReportShowsTheResult(t *testing.T) {
	r := stalledRun()
	v := show(t, render(t, r, press), "light", 1280, 1000)
	v.drawn(t, 9)
	window := &r.Judged
	for key, want := range map[string]string{
		"offered":     fmt.Sprintf("%.1f/s", float64(window.Due)/window.Seconds),
		"good":        fmt.Sprintf("%.1f/s", float64(window.OK)/window.Seconds),
		"errors":      fmt.Sprintf("%.2f %%", 100*window.ErrorShare()),
		"connections": "64",
	} {
		if got := v.text(t, key); got != want {
			t.Errorf("%s is %q; want %q", key, got, want)
		}
	}
	for name, h := range map[string]*hdr.Histogram{"latency": window.Latency, "service": window.Service, "total": r.Total.Latency} {
		for i, q := range quantiles {
			if got, want := v.text(t, name+"-"+[]string{"p50", "p90", "p99", "p999", "max"}[i]), human(h.Quantile(q)); got != want {
				t.Errorf("%s at %v is %q; want %q", name, q, got, want)
			}
		}
	}
	text := plain(v.dom)
	for _, want := range []string{
		"Fail: 2 of 3 objectives held", r.Target, "2026-11-20 09:30:00 UTC", r.Notes[0], r.Errors[0].Message, "generator late: not judged",
		"Measured from when requests were sent, p99 would read " + human(window.Service.Quantile(0.99)) + " instead of " + human(window.Latency.Quantile(0.99)),
		"1000/s", "9.80 µs", "go1.26.8",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// The table of the chart has what the script computed from each interval's buckets: the same as package hdr.
	rows := regexp.MustCompile(`<tr><td.*?</tr>`).FindAllString(v.figure(t, "latency"), -1)
	if len(rows) != len(r.Intervals) {
		t.Fatalf("the table of latencies has %d rows for %d intervals", len(rows), len(r.Intervals))
	}
	for i, row := range rows {
		cells := regexp.MustCompile(`<td[^>]*>(.*?)</td>`).FindAllStringSubmatch(row, -1)[1:]
		for k, q := range quantiles {
			if got, want := plain(cells[len(cells)-1-k][1]), human(r.Intervals[i].Latency.Quantile(q)); got != want {
				t.Errorf("interval %d at %v: %q in the table; want %q", i, q, got, want)
			}
		}
	}
	if tips := regexp.MustCompile(`data-tips="([^"]*)"`).FindString(v.dom); strings.Count(tips, "|") != 8 || !strings.Contains(plain(tips), "29 s – 30 s, 1500/s") {
		t.Errorf("the tooltips say %s", tips)
	}
	if n := strings.Count(v.figure(t, "rate"), `class="late"`); n != 2 { // in the legend and in the chart
		t.Errorf("%d late marks in the chart of rates; want 2", n)
	}
}

var quantiles = []float64{0.5, 0.9, 0.99, 0.999, 1}

// human is a time as the report writes it.
func human(ns int64) string {
	v, unit := float64(ns), "ns"
	for _, next := range []string{"µs", "ms", "s"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, next
	}
	digits := 2
	switch {
	case unit == "ns" || v >= 99.95:
		digits = 0
	case v >= 9.995:
		digits = 1
	}
	// As a browser rounds: half away from zero of the decimal that the number is.
	return fmt.Sprintf("%.*f %s", digits, math.Round(v*math.Pow10(digits))/math.Pow10(digits), unit)
}

func TestChangedHistogramChangesItsPicture(t *testing.T) {
	changed := stalledRun()
	changed.Intervals[15].Latency.RecordN(300_000_000, 100)
	before, after := show(t, render(t, stalledRun(), ""), "light", 1280, 3900), show(t, render(t, changed, ""), "light", 1280, 3900)
	before.drawn(t, 9)
	after.drawn(t, 9)

	for _, id := range []string{"goodput", "load-latency", "rate", "heat", "failures", "distribution", "bytes", "connections"} {
		if same := before.figure(t, id) == after.figure(t, id); same == (id == "heat") {
			t.Errorf("chart %s is the same: %v", id, same)
		}
	}
	if len(before.paths(t, "rate")) != 3 || len(before.paths(t, "latency")) != 5 {
		t.Fatalf("series are missing: %d and %d", len(before.paths(t, "rate")), len(before.paths(t, "latency")))
	}
	// Only the point of that second moves.
	old, now := before.paths(t, "latency"), after.paths(t, "latency")
	for _, series := range []string{"p99", "p999", "max"} {
		points, moved := strings.Split(old[series], "L"), strings.Split(now[series], "L")
		if len(points) != 30 || len(moved) != 30 {
			t.Fatalf("%s has %d and %d points; want 30", series, len(points), len(moved))
		}
		for i := range points {
			if (points[i] != moved[i]) != (i == 15) {
				t.Errorf("%s at second %d was at %s and is at %s", series, i, points[i], moved[i])
			}
		}
	}
	difference := differing(before.picture, after.picture)
	if area := difference.Dx() * difference.Dy(); area < 500 || difference.Min.Y < 1500 || difference.Max.Y > 3000 {
		t.Errorf("the pictures differ in %v; want it in the charts of latency over time alone", difference)
	}
}

// differing is the smallest rectangle that holds all pixels that differ.
func differing(a, b image.Image) image.Rectangle {
	bounds := a.Bounds()
	before, after := image.NewRGBA(bounds), image.NewRGBA(bounds)
	draw.Draw(before, bounds, a, bounds.Min, draw.Src)
	draw.Draw(after, bounds, b, bounds.Min, draw.Src)
	var found image.Rectangle
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		from, to := before.PixOffset(bounds.Min.X, y), before.PixOffset(bounds.Max.X, y)
		if bytes.Equal(before.Pix[from:to], after.Pix[from:to]) {
			continue
		}
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if before.RGBAAt(x, y) != after.RGBAAt(x, y) {
				found = found.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return found
}

func TestReportIsDarkWhenAsked(t *testing.T) {
	page := render(t, searchedRun(), press)
	dark, light := show(t, page, "dark", 1600, 1000), show(t, page, "light", 400, 1000)
	for name, v := range map[string]view{"dark": dark, "light": light} {
		v.drawn(t, 9)
		r, g, b, _ := v.picture.At(3, 3).RGBA()
		if sum := (r + g + b) >> 8; (sum < 150) != (name == "dark") || (sum > 600) != (name == "light") {
			t.Errorf("the ground of the %s page is %d, %d, %d", name, r>>8, g>>8, b>>8)
		}
	}
	if text := plain(dark.dom); !strings.Contains(text, "Breakpoint3,750/s") || !strings.Contains(text, "At 3,900/s one did not, 4.00 % above.") {
		t.Error("the page does not tell the breakpoint")
	}
	for _, id := range []string{"goodput", "load-latency"} {
		if figure := light.figure(t, id); !strings.Contains(figure, "breakpoint 3,750/s") || !strings.Contains(figure, `class="beyond"`) {
			t.Errorf("the breakpoint is not marked in chart %s", id)
		}
	}
	if !strings.Contains(light.figure(t, "failures"), "no request failed") {
		t.Error("without failures the chart of failures does not say so")
	}
}

func TestOddResultsAreDrawn(t *testing.T) {
	odd := stalledRun()
	odd.Loop, odd.End, odd.Verdict, odd.Protocol = load.ClosedLoop, load.EndInterrupted, "perhaps", "carrier pigeon"
	odd.Stages, odd.Requests, odd.Plan, odd.Client.Late, odd.Breakpoint = nil, nil, nil, nil, &load.Breakpoint{}
	odd.Judged, odd.Total.Status, odd.Intervals = load.Window{}, nil, odd.Intervals[:3]
	odd.Intervals[0].Failed = map[load.Class]uint64{"bored": 3, "constructor": 1, load.ClassLocal: 2}
	odd.Intervals[1].Latency, odd.Intervals[1].Service, odd.Intervals[1].Failed = nil, new(hdr.Histogram), nil
	odd.Intervals[2].Seconds = 0
	odd.SLO = []load.SLOResult{{SLO: "p99<0ms", Unit: "ms", Verdict: "perhaps"}}
	odd.Errors = []load.ErrorSample{{Class: "bored"}}
	v := show(t, render(t, odd, press), "", 380, 1000)
	v.drawn(t, 9)
	for _, want := range []string{"The run was interrupted", "bored", "constructor", "none found", "closed loop"} {
		if !strings.Contains(plain(v.dom), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	empty := show(t, render(t, &load.Result{}, ""), "", 1280, 1000)
	empty.drawn(t, 7)
	if n := strings.Count(empty.dom, `class="nodata"`); n != 7 {
		t.Errorf("%d of 7 charts without data say so", n)
	}
}

// TestPageAsksForNothing shows the page through a proxy that writes down what the browser asks for.
func TestPageAsksForNothing(t *testing.T) {
	hostile := `</script><img src="http://evil.test/a.png" onerror="document.documentElement.dataset.hacked=1"><script src="http://evil.test/b.js"></script><!--`
	r := stalledRun()
	r.Target, r.Notes, r.Protocol, r.Version = hostile, []string{hostile}, load.Protocol(hostile), hostile
	r.Errors[0].Message, r.Errors[0].Class, r.Stages[1].Name, r.SLO[0].SLO, r.Machine.Go = hostile, load.Class(hostile), hostile, hostile, hostile
	r.Intervals[3].Failed[load.Class(hostile)] = 5
	r.Total.Status[hostile], r.Total.Failed[load.Class(hostile)] = 7, 5
	r.Requests[0].Name, r.SLO[1].Reason = hostile, hostile

	var lock sync.Mutex
	var asked []string
	pages := map[string]string{
		"http://report.test/": render(t, r, press),
		"http://leaky.test/":  `<html data-drawn="0"><link rel="icon" href="data:,"><img src="http://evil.test/a.png">`,
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		lock.Lock()
		asked = append(asked, req.Method+" "+req.URL.String())
		lock.Unlock()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if _, ok := pages[req.URL.String()]; !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, pages[req.URL.String()])
	}))
	defer proxy.Close()
	requests := func(address string) (view, []string) {
		lock.Lock()
		asked = nil
		lock.Unlock()
		v := open(t, address, 620, 1000, "--proxy-server="+proxy.URL, "--proxy-bypass-list=<-loopback>")
		lock.Lock()
		defer lock.Unlock()
		// The browser's maker is asked by the browser itself, whatever the page.
		return v, slices.DeleteFunc(slices.Clone(asked), func(line string) bool {
			return regexp.MustCompile(`(google|googleapis|gstatic)\.com[:/]`).MatchString(line)
		})
	}
	v, got := requests("http://report.test/")
	if !slices.Equal(got, []string{"GET http://report.test/"}) {
		t.Errorf("the page made the browser ask for %q", got)
	}
	v.drawn(t, 9)
	if strings.Contains(v.dom, `dataset.hacked=1">`) || strings.Contains(v.dom, "data-hacked") || !strings.Contains(plain(v.dom), hostile) {
		t.Error("a hostile text became markup, or is not shown")
	}
	// And the proxy would have seen it.
	if _, got := requests("http://leaky.test/"); !slices.Contains(got, "GET http://evil.test/a.png") {
		t.Errorf("of a page with a picture the proxy saw only %q", got)
	}
}

func TestRunsAreValidBySchema(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*load.Result{"stalled": stalledRun(), "searched": searchedRun()} {
		var file bytes.Buffer
		if err := report.WriteJSON(&file, r); err != nil {
			t.Fatal(err)
		}
		result, err := jsonschema.UnmarshalJSON(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(result); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := report.ReadJSON(&file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
