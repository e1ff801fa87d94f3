package script

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParsePathRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "at character 1: a path begins with $",
		"a.b":                     "at character 1: a path begins with $",
		"$a":                      "at character 2: after a value comes",
		"$.":                      "at character 3: wanted a name",
		"$..a":                    "at character 3: a path leads to one value",
		"$.*":                     "at character 3: a path leads to one value",
		"$.1a":                    "at character 3: wanted a name",
		"$.user-id":               "at character 7: after a value comes .name, ['name'] or [0]; a name with other characters than letters, digits and _ is written ['so-named']",
		"$[*]":                    "at character 3: wanted a whole number or a name in quotes; a path leads to one value",
		"$[?@.a]":                 "at character 3: wanted a whole number or a name",
		"$[1:2]":                  "at character 4: wanted ]",
		"$[0,1]":                  "at character 4: wanted ]",
		"$[]":                     "at character 3: wanted a whole number",
		"$[0":                     "at character 4: wanted ]",
		"$[01]":                   "at character 3: an index is a whole number without leading zeros",
		"$[-0]":                   "at character 3: an index is a whole number without leading zeros",
		"$[1-1]":                  "at character 3: an index is a whole number",
		"$[--1]":                  "at character 3: an index is a whole number",
		"$[-]":                    "at character 3: an index is a whole number",
		"$[-01]":                  "at character 3: an index is a whole number without",
		"$[9007199254740992]":     "at character 3: an index lies within",
		"$[99999999999999999999]": "at character 3: an index lies within",
		"$['a]":                   "at character 6: the name has no closing quote",
		`$['a\`:                   "at character 6: the name has no closing quote",
		`$['\x']`:                 "at character 4: there is no such escape",
		`$['\"']`:                 "at character 4: there is no such escape",
		`$["\u12"]`:               `at character 4: wanted four hexadecimal digits after \u`,
		`$["\ud800"]`:             "at character 4: half a surrogate pair",
		"$['\n']":                 "at character 4: a control character",
		"$['\xff']":               "at character 5: this name is not UTF-8",
		"$.\xff":                  "at character 3: this is not UTF-8",
		"$.a .b c":                "at character 7: after a value comes",
	} {
		_, err := ParsePath(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "path ") {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	const body = ` { "a" : { "b" : [ 10 , [ ] , { "c" : "x" } ] , "a" : null } , "a" : 2, "" : true, "q\"\u00e9" : 1.50,
		"'": 3, "0": 4, "\ud83d\ude00": 5, "n": {}, "/": 6, "\\": 7 } `
	for path, want := range map[string]string{
		"$":                 strings.TrimSpace(body),
		"$.a.b":             `[ 10 , [ ] , { "c" : "x" } ]`,
		"$.a.b[0]":          "10",
		"$.a.b[-3]":         "10",
		"$.a.b[1]":          "[ ]",
		"$.a.b[-1].c":       `"x"`,
		"$['a']['b'][2]":    `{ "c" : "x" }`,
		`$ [ "a" ] .b [2]`:  `{ "c" : "x" }`,
		"$.a.a":             "null",
		"$['']":             "true",
		`$["q\"é"]`:         "1.50",
		`$['q"\u00E9']`:     "1.50",
		`$['\'']`:           "3",
		"$['0']":            "4",
		"$.😀":               "5",
		`$['\uD83D\uDE00']`: "5",
		`$['\/']`:           "6",
		`$['\\']`:           "7",
		// Nothing there:
		"$.b": "", "$.a.b[3]": "", "$.a.b[-4]": "", "$.a.b.c": "", "$[0]": "", "$.a.b[1][0]": "", "$.a.b[1][-1]": "",
		"$.a.b[0].x": "", "$.n.x": "", "$.a.a.a": "",
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got, ok, err := p.Find([]byte(body))
		if err != nil || ok != (want != "") || string(got) != want {
			t.Errorf("%s: got %q %v %v, want %q", path, got, ok, err, want)
		}
	}
}

func TestFindOfMalformedBody(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for _, c := range []struct{ path, body, want string }{
		{"$", "", "not JSON: it ends at byte 0 where a value was wanted"},
		{"$.a", "", "not JSON: it ends at byte 0 where a value was wanted"},
		{"$.a", "<html>", "not JSON: at byte 0 wanted a value, found '<'"},
		{"$.a", "\xef\xbb\xbf{}", "not JSON: at byte 0 wanted a value, found the byte 0xef"},
		{"$.a", `{"b":1`, "not JSON: it ends at byte 6 where a comma or } was wanted"},
		{"$.a", `{"b":1,}`, "not JSON: at byte 7 wanted a name in quotes, found '}'"},
		{"$.a", `{"b" 1}`, "not JSON: at byte 5 wanted a colon, found '1'"},
		{"$.a", `{"b":01}`, "not JSON: at byte 6 wanted a comma or }, found '1'"},
		{"$.a", `{"b":1.}`, "not JSON: at byte 5 wanted a value, found '1'"},
		{"$.a", `{"b":tru}`, "not JSON: at byte 5 wanted true, found 't'"},
		{"$.a", `{"b":"x`, "not JSON: it ends at byte 7 where a closing quote was wanted"},
		{"$.a", `{"b":"\`, "not JSON: it ends at byte 7 where a closing quote was wanted"},
		{"$.a", `{"b":"\x"}`, "not JSON: at byte 7 wanted an escape of JSON, found 'x'"},
		{"$.a", `{"b":"\u12g4"}`, `not JSON: at byte 7 wanted four hexadecimal digits after \u, found 'u'`},
		{"$.a", "{\"b\":\"\n\"}", "not JSON: at byte 6 wanted a string without control characters, found the byte 0x0a"},
		{"$.a", `{"a":`, "not JSON: it ends at byte 5 where a value was wanted"},
		{"$.a", `{"a":{"b":]}`, "not JSON: at byte 10 wanted a value, found ']'"},
		{"$[1]", `[1 2]`, "not JSON: at byte 3 wanted a comma or ], found '2'"},
		{"$[1]", `[1,]`, "not JSON: at byte 3 wanted a value, found ']'"},
		{"$[-1]", `[1,2`, "not JSON: it ends at byte 4 where a comma or ] was wanted"},
		{"$[0].a", `[7x]`, ""},
		{"$", deep, "nested deeper than 1024 at byte 1024"},
		{"$.a", `{"b":{"c":[1}}`, "not JSON: at byte 12 wanted a comma or ], found '}'"},
	} {
		p, err := ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		_, ok, err := p.Find([]byte(c.body))
		if ok || err == nil && c.want != "" || err != nil && err.Error() != c.want {
			t.Errorf("%s of %s: got %v %v, want %s", c.path, cut(c.body, 30), ok, err, c.want)
		}
	}
}

func TestFindTakesWhatNestsJustDeepEnough(t *testing.T) {
	body := strings.Repeat("[", maxDepth) + "7" + strings.Repeat("]", maxDepth)
	if value, ok, err := (Path{}).Find([]byte(body)); !ok || err != nil || string(value) != body {
		t.Errorf("got %d bytes, %v, %v", len(value), ok, err)
	}
}

func TestFindTellsObjectsFromArraysOfOneLevel(t *testing.T) {
	for _, body := range []string{`[{"a":1},[1,2],{"b":[3]},[[4],{"c":5}]]`, `{"a":[1],"b":{"c":1,"d":2},"e":[{},[]]}`} {
		if value, ok, err := (Path{}).Find([]byte(body)); !ok || err != nil || string(value) != body {
			t.Errorf("%s: got %s, %v, %v", body, value, ok, err)
		}
	}
}

func TestFindDoesNotReadBeyondTheValue(t *testing.T) {
	p, err := ParsePath("$.a[1]")
	if err != nil {
		t.Fatal(err)
	}
	if value, ok, err := p.Find([]byte(`{"a":[1,"two" and then garbage`)); string(value) != `"two"` || !ok || err != nil {
		t.Errorf("got %s, %v, %v", value, ok, err)
	}
}

func TestSkipPlainStopsAtTheFirstByteThatCounts(t *testing.T) {
	for n := range 20 {
		for i := range n {
			for c := range 256 {
				text := []byte(strings.Repeat("\xff", n))
				text[i] = byte(c)
				want := n
				if c < ' ' || c == '"' || c == '\\' {
					want = i
				}
				if got := skipPlain(text, 0); got != want {
					t.Fatalf("%q: %d, want %d", text, got, want)
				}
			}
		}
	}
}

func TestExtract(t *testing.T) {
	body := []byte(`{"a":"x","b":"x\n\u00e9","c":12.50,"d":null,"e":{"f": [1]},"g":true,"h":"` + "\xff" + `"}`)
	for path, want := range map[string]string{
		"$.a": "x", "$.b": "x\né", "$.c": "12.50", "$.d": "", "$.e": `{"f": [1]}`, "$.g": "true", "$.h": "\ufffd",
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Extract(p, body); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
	p, _ := ParsePath("$.token")
	if _, err := Extract(p, []byte(`{"error":"no"}`)); err == nil || err.Error() != `save $.token: nothing there in "{"error":"no"}"` {
		t.Errorf("got %v", err)
	}
	if _, err := Extract(p, []byte(`oops`)); err == nil || err.Error() != `save $.token: not JSON: at byte 0 wanted a value, found 'o'` {
		t.Errorf("got %v", err)
	}
	if got := (Path{}).String() + p.String(); got != "$$.token" {
		t.Errorf("got %s", got)
	}
}

func FuzzPathFind(f *testing.F) {
	for _, seed := range [][2]string{
		{"$.a.b[0]", `{"a":{"b":[1,2]}}`}, {"$['a']", `{"\u0061":"x","a":2}`}, {`$["\ud83d\ude00"][-1]`, `{"😀":[[],{}]}`},
		{"$", ` {"a":[1.5e-3,true,false,null,"\"\\"]} `}, {"$[1]", `[1,`}, {"$.�", "{\"\xff\":1}"}, {"$.a", `{"b":{"a":1},"a":0}`},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		valid := json.Valid(body)
		if valid != (wholeJSON(body) == nil) && depth(body) < maxDepth {
			t.Fatalf("valid: %v by encoding/json, %v here: %q", valid, !valid, body)
		}
		p, err := ParsePath(text)
		if err != nil {
			return
		}
		again, err := ParsePath(p.String())
		if err != nil || len(again.steps) != len(p.steps) {
			t.Fatalf("%q became %q: %v", text, p.String(), err)
		}
		value, ok, err := p.Find(body)
		if ok && (err != nil || !json.Valid(value)) {
			t.Fatalf("%q in %q: found %q, %v", text, body, value, err)
		}
		if !valid || depth(body) >= maxDepth {
			return
		}
		if err != nil {
			t.Fatalf("%q in %q: %v", text, body, err)
		}
		want, exists := walk(decode(body), p)
		if exists != ok {
			t.Fatalf("%q in %q: found %v, encoding/json says %v", text, body, ok, exists)
		}
		if !ok {
			return
		}
		if got := decode(value); !sameJSON(got, want) {
			t.Fatalf("%q in %q: found %v, encoding/json says %v", text, body, got, want)
		}
		raw := rawText(value)
		if s, isString := want.(string); isString && string(raw) != s {
			t.Fatalf("%q in %q: text %q, encoding/json says %q", text, body, raw, s)
		}
		if !equalJSON(value, value) {
			t.Fatalf("%q does not equal itself", value)
		}
	})
}
