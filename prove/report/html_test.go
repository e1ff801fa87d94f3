package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/load"
)

func rendered(t *testing.T, r *load.Result) string {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteHTML(&buf, r); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestPageHoldsTheResult(t *testing.T) {
	got := rendered(t, sample())
	_, rest, _ := strings.Cut(got, `<script type="application/json" id="result">`)
	data, _, ok := strings.Cut(rest, "</script>")
	if !ok {
		t.Fatal("the page holds no result")
	}
	var back load.Result
	if err := json.Unmarshal([]byte(data), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plain(t, &back), plain(t, sample())) {
		t.Error("the result in the page is not the one given")
	}
	if mark := regexp.MustCompile(`{{\w+}}`).FindString(got); mark != "" {
		t.Errorf("the mark %s was left in the page", mark)
	}
}

// TestPageNamesNothingOutside: no element, style or script may fetch, and the policy says so too.
func TestPageNamesNothingOutside(t *testing.T) {
	got := rendered(t, &load.Result{Schema: load.ResultSchema})
	if !strings.Contains(got, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">`) {
		t.Error("the policy is not in the page")
	}
	for _, fetches := range []string{`src=`, `@import`, `url\((?:[^#)])`, `href="[^"d]`, `\bfetch\(`, `XMLHttpRequest`, `sendBeacon`, `WebSocket\(`, `EventSource`, `\bimport\(`} {
		if found := regexp.MustCompile(fetches).FindString(got); found != "" {
			t.Errorf("the page has %q, which may fetch from outside", found)
		}
	}
	for _, address := range regexp.MustCompile(`(?:https?:)?//[\w.-]+\.\w+[^"]*"`).FindAllString(got, -1) {
		if address != `http://www.w3.org/2000/svg"` { // a name, not a place
			t.Errorf("the page has the address %s", address)
		}
	}
}

// TestScriptWritesNoMarkup: what comes from a result reaches the page through text nodes and attributes alone.
func TestScriptWritesNoMarkup(t *testing.T) {
	for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc", "setHTML"} {
		if strings.Contains(script, way) {
			t.Errorf("the script uses %s", way)
		}
	}
	if strings.Contains(script, "</script") || strings.Contains(script, "<!--") || strings.Contains(style, "</style") {
		t.Error("the script or the style ends its own element")
	}
}

func TestHostileTextStaysText(t *testing.T) {
	hostile := `</script><img src=x onerror=alert(1)><!--<script>{{script}}`
	r := sample()
	r.Target, r.Errors[0].Message, r.Notes[0] = hostile, hostile, hostile
	r.Total.Status[hostile] = 1
	got := rendered(t, r)
	for _, markup := range []string{"<img", "<!--<", "alert(1)>"} {
		if strings.Contains(got, markup) {
			t.Errorf("the page has the markup %s of a message", markup)
		}
	}
	if n := strings.Count(got, "</script>"); n != 2 {
		t.Errorf("%d ends of a script; want 2", n)
	}
	if n := strings.Count(got, `"use strict"`); n != 1 {
		t.Errorf("the script is in the page %d times", n)
	}
}
