package script

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTemplates(t *testing.T) {
	csv := table(t, "a.csv", "id,name,f0,f1,f2,row,seq,a..b,rand\n7,\"A \"\"b\"\" é&\",1.5,,x,R,S,D,N\n8,,,,,,,,\n")
	jsonl := table(t, "a.jsonl", `{"id": 7, "name":"A \"b\"", "seq":true, "n": {"x": [1, 2]}}`)
	vars := []string{"token", "id2", "name", "token"}
	zone := time.FixedZone("", 3600)
	c := &Context{Seq: 42, Run: `r"1`, Vars: [][]byte{[]byte("old"), []byte("12"), []byte("V"), []byte("t\"\xff")},
		Now: func() time.Time { return time.Date(2026, 1, 2, 4, 4, 5, 6000, zone) }}
	for _, test := range []struct {
		rows       *Table
		text, want string
	}{
		{csv, "", ""},
		{csv, "plain { } }} text", "plain { } }} text"},
		{csv, "{{id}}", "7"},
		{csv, "<{{ id }}>{{id |json}}{{ id| string }}", `<7>7"7"`},
		{csv, "{{row.name}}", `A "b" é&`},
		{csv, "{{row.name|json}}", `"A \"b\" é&"`},
		{csv, "{{row.name|url}}", "A%20%22b%22%20%C3%A9%26"},
		{csv, "{{f1}}{{f1|string}}{{f1|json}}", `""null`},
		{csv, "[{{f0..f2|json}}]", `[1.5,null,"x"]`},
		{csv, "[{{ f2 .. f2 | json }}]", `["x"]`},
		{csv, "{{a..b}} {{a..b|json}}", `D "D"`},
		{csv, "{{row.row}} {{row.seq}} {{row.rand}} {{seq}}", "R S N 42"},
		{csv, "{{row}}", `{"id":7,"name":"A \"b\" é&","f0":1.5,"f1":null,"f2":"x","row":"R","seq":"S","a..b":"D","rand":"N"}`},
		{jsonl, "{{row}}|{{row|json}}", `{"id": 7, "name":"A \"b\"", "seq":true, "n": {"x": [1, 2]}}|{"id": 7, "name":"A \"b\"", "seq":true, "n": {"x": [1, 2]}}`},
		{jsonl, "{{row|string}}", `"{\"id\": 7, \"name\":\"A \\\"b\\\"\", \"seq\":true, \"n\": {\"x\": [1, 2]}}"`},
		{jsonl, "{{id..n|json}}", `7,"A \"b\"",true,{"x":[1,2]}`},
		{nil, "{{token}} {{token|json}} {{id2|json}} {{id2|string}} {{name}}", "t\"\xff \"t\\\"\ufffd\" 12 \"12\" V"},
		{nil, "{{seq}} {{seq|json}} {{seq|string}}", `42 42 "42"`},
		{nil, "{{unique}} {{unique|json}} {{unique|url}}", `r"1-42 "r\"1-42" r%221-42`},
		{nil, "{{now}} {{now|json}} {{now_ms}} {{now_ms|string}}", `2026-01-02T03:04:05.000006000Z "2026-01-02T03:04:05.000006000Z" 1767323045000 "1767323045000"`},
		{nil, "{{now|url}}", "2026-01-02T03%3A04%3A05.000006000Z"},
		{nil, "{{rand 5 5}} {{rand -3 -3|string}}", `5 "-3"`},
		{nil, "{{{{name}}", "{{name}}"},
		{nil, "{{{{{{{{", "{{{{"},
		{nil, "{{{seq|string}}:1}", `{"42":1}`},
		{nil, "{{seq}}}", "42}"},
		{nil, "a{{seq}}\n{{seq}}b", "a42\n42b"},
	} {
		template, err := Compile(test.text, test.rows, vars)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := string(template.Append([]byte(">"), c)); got != ">"+test.want {
			t.Errorf("%s:\ngot  %s\nwant >%s", test.text, got, test.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	rows := table(t, "a.csv", "id,customer,f0,f1,seq\n1,2,3,4,5\n")
	const names = "there are columns id, customer, f0, f1, seq; variables token; built-ins row, seq, unique, uuid, rand, now, now_ms"
	for _, c := range []struct {
		rows       *Table
		text, want string
	}{
		{rows, "a{{id", "at 1:2: {{ without }}; to write {{ itself, write {{{{"},
		{rows, "é{{id}}\n é{{id {{id}}", "at 2:3: {{ without }}; to write {{ itself, write {{{{"},
		{rows, "{{}}", "at 1:1: {{}}: no name; " + names},
		{rows, "{{|json}}", "at 1:1: {{|json}}: no name; " + names},
		{rows, "{{costumer}}", "at 1:1: {{costumer}}: there is no such name, did you mean customer?; " + names},
		{rows, "{{ID}}", "at 1:1: {{ID}}: there is no such name, did you mean id?; " + names},
		{rows, "{{tokne}}", "at 1:1: {{tokne}}: there is no such name, did you mean token?; " + names},
		{rows, "{{uid}}", "at 1:1: {{uid}}: there is no such name, did you mean uuid?; " + names},
		{rows, "{{zzzzzzzz}}", "at 1:1: {{zzzzzzzz}}: there is no such name; " + names},
		{rows, "{{id|jsn}}", "at 1:1: {{id|jsn}}: there is no filter jsn; there are json, string and url"},
		{rows, "{{row.token}}", "at 1:1: {{row.token}}: there is no column token; columns id, customer, f0, f1, seq"},
		{rows, "{{f1..f0|json}}", "at 1:1: {{f1..f0|json}}: column f1 comes after f0 in the header; write the first one first"},
		{rows, "{{f0..f1}}", "at 1:1: {{f0..f1}}: several columns are JSON values with commas between: write f0..f1|json"},
		{rows, "{{f0..f1|url}}", "at 1:1: {{f0..f1|url}}: several columns are JSON values with commas between: write f0..f1|json"},
		{rows, "{{f0..f2|json}}", "at 1:1: {{f0..f2|json}}: there is no column f2, did you mean f0?; columns id, customer, f0, f1, seq"},
		{rows, "{{..f2|json}}", "at 1:1: {{..f2|json}}: a range has a column on either side, as in {{a..b|json}}"},
		{rows, "{{rand}}", "at 1:1: {{rand}}: wanted two whole numbers, as in {{rand 1 100}}; a column is named by {{row.rand}}"},
		{rows, "{{rand 1}}", "at 1:1: {{rand 1}}: wanted two whole numbers, as in {{rand 1 100}}"},
		{rows, "{{rand 1 x}}", "at 1:1: {{rand 1 x}}: wanted two whole numbers of 64 bits, as in {{rand 1 100}}"},
		{rows, "{{rand 2 1}}", "at 1:1: {{rand 2 1}}: 2 is above 1; write the lower one first"},
		{nil, "{{row}}", "at 1:1: {{row}}: there are no rows; give a file of rows"},
		{nil, "{{row.id}}", "at 1:1: {{row.id}}: there are no rows; give a file of rows"},
		{nil, "{{a..b|json}}", "at 1:1: {{a..b|json}}: there are no rows; give a file of rows"},
		{nil, "{{costumer}}", "at 1:1: {{costumer}}: there is no such name; there are no rows; variables token; built-ins row, seq, unique, uuid, rand, now, now_ms"},
	} {
		_, err := Compile(c.text, c.rows, []string{"token"})
		if err == nil || err.Error() != "template: "+c.want {
			t.Errorf("%s:\ngot  %v\nwant template: %s", c.text, err, c.want)
		}
	}
}

func TestCompileNamesAtMostTwentyColumns(t *testing.T) {
	var names []string
	for i := range 72 {
		names = append(names, fmt.Sprintf("f%d", i))
	}
	header := strings.Join(names, ",")
	rows := table(t, "a.csv", header+"\n"+header+"\n")
	_, err := Compile("{{zzzzzzzz}}", rows, nil)
	if err == nil || !strings.Contains(err.Error(), "f18, f19 and 52 more; built-ins") {
		t.Errorf("got %v", err)
	}
}

func TestCompileRefusesVariablesThatNoExpressionReaches(t *testing.T) {
	for name, want := range map[string]string{
		"seq":   "template: variable seq has the name of a built-in; call it otherwise",
		"":      `template: variable "" cannot be named in an expression; call it by letters, digits and _`,
		"a|b":   `template: variable "a|b" cannot be named in an expression; call it by letters, digits and _`,
		"row.a": `template: variable "row.a" cannot be named in an expression; call it by letters, digits and _`,
		" a":    `template: variable " a" cannot be named in an expression; call it by letters, digits and _`,
	} {
		if _, err := Compile("x", nil, []string{"ok", name}); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

func TestStaticAndNeedsRow(t *testing.T) {
	rows := table(t, "a.csv", "a,b\n1,2\n")
	for _, c := range []struct {
		text   string
		static string
		ok     bool
		row    bool
	}{
		{"", "", true, false},
		{"x{{{{y", "x{{y", true, false},
		{"{{seq}}", "", false, false},
		{"{{v}}", "", false, false},
		{"x{{a}}", "", false, true},
		{"{{row}}", "", false, true},
		{"{{a..b|json}}", "", false, true},
	} {
		template, err := Compile(c.text, rows, []string{"v"})
		if err != nil {
			t.Fatal(err)
		}
		text, ok := template.Static()
		if string(text) != c.static || ok != c.ok || template.NeedsRow() != c.row {
			t.Errorf("%q: got %q %v %v", c.text, text, ok, template.NeedsRow())
		}
	}
}

func TestRandCoversItsRangeAndNoMore(t *testing.T) {
	template, err := Compile("{{rand -2 3}}", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const seed = 7
	c := &Context{Rand: rand.New(rand.NewPCG(seed, seed))}
	seen := map[string]int{}
	for range 1000 {
		seen[string(template.Append(nil, c))]++
	}
	for i := -2; i <= 3; i++ {
		if seen[fmt.Sprint(i)] == 0 {
			t.Errorf("seed %d: %d never came", seed, i)
		}
	}
	if len(seen) != 6 {
		t.Errorf("seed %d: %v", seed, seen)
	}
	whole, err := Compile(fmt.Sprintf("{{rand %d %d}}", math.MinInt64, math.MaxInt64), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first, second := string(whole.Append(nil, c)), string(whole.Append(nil, c)); first == second {
		t.Errorf("seed %d: %s twice of all numbers of 64 bits", seed, first)
	}
}

func TestUUIDsAreOfVersion4AndDiffer(t *testing.T) {
	template, err := Compile("{{uuid}}", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, c := range []*Context{{}, {Rand: rand.New(rand.NewPCG(1, 2))}} {
		seen := map[string]bool{}
		for range 1000 {
			id := string(template.Append(nil, c))
			if !form.MatchString(id) || seen[id] {
				t.Fatalf("%s, among %d", id, len(seen))
			}
			seen[id] = true
		}
	}
	if got := string(appendUUID(nil, 0x0123456789abcdef, 0x0123456789abcdef)); got != "01234567-89ab-4def-8123-456789abcdef" {
		t.Errorf("got %s", got)
	}
}

func TestZeroContextServesBuiltIns(t *testing.T) {
	template, err := Compile("{{seq}} {{unique}} {{uuid}} {{rand 1 9}} {{now}} {{now_ms}}", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := template.Append(nil, &Context{}); len(strings.Fields(string(got))) != 6 {
		t.Errorf("got %s", got)
	}
}

func TestURLFilterDecodesInQueryAndPath(t *testing.T) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	text := string(appendURL(nil, all))
	if got, err := url.QueryUnescape(text); err != nil || got != string(all) {
		t.Errorf("query: %q, %v", got, err)
	}
	if got, err := url.PathUnescape(text); err != nil || got != string(all) {
		t.Errorf("path: %q, %v", got, err)
	}
}

func FuzzCompile(f *testing.F) {
	rows := table(f, "a.csv", "id,f0,f1,s\n7,1.5,,\"a \"\"b\"\n")
	for _, seed := range []string{
		"", "{{id}}", "{{{{", "{{{id|string}}:[{{f0..s|json}}]}", "{{rand 1 100}}{{uuid|json}}", "{{row|string}}", "{{row.s|url}}",
		"{{v|json}} {{unique|url}} {{now}}{{now_ms}}{{seq}}", "{{", "}}{{", "{{rand -9223372036854775808 9223372036854775807}}",
	} {
		f.Add(seed, []byte("v\xff"))
	}
	f.Fuzz(func(t *testing.T, text string, saved []byte) {
		c := &Context{Run: string(saved), Seq: 3, Vars: [][]byte{saved}}
		if template, err := Compile(text, rows, []string{"v"}); err == nil {
			got := template.Append([]byte("x"), c)
			if static, ok := template.Static(); ok && string(got) != "x"+string(static) {
				t.Fatalf("%q: static %q, rendered %q", text, static, got)
			}
		}
		literal, err := Compile(strings.ReplaceAll(text, "{{", "{{{{"), rows, nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got, ok := literal.Static(); !ok || string(got) != text {
			t.Fatalf("%q came out as %q", text, got)
		}
		for _, name := range []string{"v", "unique", "row", "id..s"} {
			for _, filter := range []string{"json", "string", "url"} {
				template, err := Compile("{{"+name+"|"+filter+"}}", rows, []string{"v"})
				if err != nil {
					continue
				}
				got := template.Append(nil, c)
				if filter == "url" {
					if _, err := url.QueryUnescape(string(got)); err != nil {
						t.Fatalf("%s|%s of %q: %v", name, filter, saved, err)
					}
				} else if name != "id..s" && !json.Valid(got) {
					t.Fatalf("%s|%s of %q: %s", name, filter, saved, got)
				}
			}
		}
	})
}
