package script

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

const checkRows = "id,name,prob,empty,list,flag,quoted\n" +
	`17,Ada,0.25,,"[1, 2]",true,"say ""hi"""` + "\n" +
	`9007199254740993,B "é",1e0,,x,,` + "\n"

var jsonBody = []byte(`{"id":17,"sid":"17","name":"Ada","esc":"\u0041da","prob":0.2500001,"zero":-0.0,"nil":null,"blank":"",` +
	`"list":[1,2.0],"yes":true,"no":false,"big":9007199254740993,"o":{"b":[{}],"a":"x"},"said":"say \"hi\"","say":"a ± b"}`)

func TestChecks(t *testing.T) {
	rows := table(t, "a.csv", strings.Replace(checkRows, `B "é"`, `"B ""é"""`, 1))
	header := func(name string) string {
		if name == "Content-Type" {
			return "application/json; charset=utf-8"
		}
		return ""
	}
	ok := &Answer{Status: 200, Header: header, Body: jsonBody}
	gone := &Answer{Status: 404}
	grpc := &Answer{Status: 5, StatusName: "NOT_FOUND", Body: []byte("Ada")}
	for _, c := range []struct {
		text   string
		answer *Answer
		want   string // the error, empty when it holds
	}{
		{"status == 200", ok, ""},
		{"status==200", ok, ""},
		{"  status  ==  200  ", ok, ""},
		{"status == 200", gone, "status == 200: found 404"},
		{"status != 200", gone, ""},
		{"status != 4xx", gone, "status != 4xx: found 404"},
		{"status in 200,201,204", ok, ""},
		{"status in 201, 2xx", ok, ""},
		{"status in 200,NOT_FOUND", grpc, ""},
		{"status in 200,201", gone, "status in 200,201: found 404"},
		{"status < 500", gone, ""},
		{"status < 404", gone, "status < 404: found 404"},
		{"status <= 404", gone, ""},
		{"status <= 403", gone, "status <= 403: found 404"},
		{"status > 403", gone, ""},
		{"status > 404", gone, "status > 404: found 404"},
		{"status >= 404", gone, ""},
		{"status >= 405", gone, "status >= 405: found 404"},
		{"status == 2xx", ok, ""},
		{"status == 2xx", gone, "status == 2xx: found 404"},
		{"status == NOT_FOUND", grpc, ""},
		{"status == 5", grpc, ""},
		{"status == OK", grpc, "status == OK: found NOT_FOUND"},
		{"status == NOT_FOUND", gone, "status == NOT_FOUND: found 404"},

		{"body contains \"name\"", ok, ""},
		{"body contains {{name}}", grpc, ""},
		{"body contains Bob", grpc, `body contains Bob: found "Ada"`},
		{"body contains {{id}}", grpc, `body contains {{id}}: wanted "17", found "Ada"`},
		{"body contains x", gone, `body contains x: found an empty body`},
		{"body  not  contains Bob", grpc, ""},
		{"body not contains d", grpc, `body not contains d: found it at byte 1 of "Ada"`},
		{"body not contains {{name}}", grpc, `body not contains {{name}}: wanted "Ada", found it at byte 0 of "Ada"`},
		{"body == Ada", grpc, ""},
		{"body == {{name}}", grpc, ""},
		{"body ==", gone, ""},
		{"body ==", grpc, `body ==: found "Ada"`},
		{"body == ada", grpc, `body == ada: found "Ada"`},
		{"body == x", ok, `body == x: found "{"id":17,"sid":"17","name":"Ada","esc":"\u0041da","prob":…" (` + fmt.Sprint(len(jsonBody)) + " bytes)"},

		{"header Content-Type == application/json; charset=utf-8", ok, ""},
		{"header Content-Type contains json", ok, ""},
		{"header Content-Type contains xml", ok, `header Content-Type contains xml: found "application/json; charset=utf-8"`},
		{"header Content-Type == application/{{name}}", ok, `header Content-Type == application/{{name}}: wanted "application/Ada", found "application/json; charset=utf-8"`},
		{"header X-Id == {{id}}", ok, `header X-Id == {{id}}: wanted "17", found no such field`},
		{"header X-Id contains 1", gone, "header X-Id contains 1: found no such field"},
		{"header X-Id ==", ok, ""},

		{"json $.id == 17", ok, ""},
		{"json $.id==17.0", ok, ""},
		{"json $.id == 1.7e1", ok, ""},
		{"json $.id == 18", ok, "json $.id == 18: found 17"},
		{`json $.id == "17"`, ok, `json $.id == "17": found 17`},
		{"json $.id == {{id}}", ok, ""},
		{"json $.id == {{id|json}}", ok, ""},
		{"json $.id == {{id|string}}", ok, `json $.id == {{id|string}}: wanted "17", found 17`},
		{"json $.sid == {{id}}", ok, ""},
		{"json $.sid == {{id|json}}", ok, `json $.sid == {{id|json}}: wanted 17, found "17"`},
		{"json $.sid == {{id|string}}", ok, ""},
		{`json $.sid == "{{id}}"`, ok, ""},
		{"json $.name == {{name}}", ok, ""},
		{"json $.name == {{name|json}}", ok, ""},
		{"json $.esc == {{name}}", ok, ""},
		{"json $.esc == {{name|json}}", ok, ""},
		{`json $.name == "\u0041\u0064a"`, ok, ""},
		{`json $.name == A{{flag}}`, ok, `json $.name == A{{flag}}: wanted Atrue, found "Ada"`},
		{"json $.said == {{quoted}}", ok, ""},
		{"json $.said == {{quoted|json}}", ok, ""},
		{`json $.said == "{{quoted}}"`, ok, `json $.said == "{{quoted}}": wanted JSON, found "say "hi"" in the check itself; use {{name}} or {{name|json}} alone`},
		{`json $.say == "a ± b"`, ok, ""},
		{"json $.nil == {{empty}}", ok, ""},
		{"json $.nil == {{empty|json}}", ok, ""},
		{"json $.nil == null", ok, ""},
		{"json $.nil == {{name}}", ok, "json $.nil == {{name}}: wanted Ada, found null"},
		{"json $.blank == {{empty}}", ok, ""},
		{"json $.blank == null", ok, `json $.blank == null: found ""`},
		{"json $.id == {{empty}}", ok, "json $.id == {{empty}}: wanted null or an empty string, found 17"},
		{"json $.zero == 0", ok, ""},
		{"json $.yes == {{flag}}", ok, ""},
		{"json $.yes == true", ok, ""},
		{"json $.yes == false", ok, "json $.yes == false: found true"},
		{"json $.no == false", ok, ""},
		{"json $.big == 9007199254740993", ok, ""},
		{"json $.big == 9007199254740992", ok, "json $.big == 9007199254740992: found 9007199254740993"},
		{"json $.big > 9007199254740992", ok, ""},
		{"json $.list == [1.0,2]", ok, ""},
		{"json $.list == [2,1]", ok, "json $.list == [2,1]: found [1,2.0]"},
		{"json $.list == [1,2,3]", ok, "json $.list == [1,2,3]: found [1,2.0]"},
		{"json $.list == [1]", ok, "json $.list == [1]: found [1,2.0]"},
		{"json $.list == {{list}}", ok, ""},
		{"json $.list == {{name}}", ok, "json $.list == {{name}}: wanted Ada, found [1,2.0]"},
		{`json $.o == {"a":"x","b":[{}]}`, ok, ""},
		{`json $.o == {"a":"x"}`, ok, `json $.o == {"a":"x"}: found {"b":[{}],"a":"x"}`},
		{`json $.o == {"a":"x","b":[{}],"c":1}`, ok, `json $.o == {"a":"x","b":[{}],"c":1}: found {"b":[{}],"a":"x"}`},
		{`json $.o == [{}]`, ok, `json $.o == [{}]: found {"b":[{}],"a":"x"}`},
		{`json $.o['b'][-1] == {}`, ok, ""},
		{"json $.prob == {{prob}} ± 1e-6", ok, ""},
		{"json $.prob == {{prob}} +- 1e-6", ok, ""},
		{"json $.prob == {{prob}}±1e-7", ok, ""},
		{"json $.prob == {{prob}} ± 9e-8", ok, "json $.prob == {{prob}} ± 9e-8: wanted 0.25 ± 9e-08, found 0.2500001"},
		{"json $.prob == 0.26 ± 0.01", ok, ""},
		{"json $.prob == 0.27 ± 0.01", ok, "json $.prob == 0.27 ± 0.01: found 0.2500001"},
		{"json $.sid == 17 ± 1", ok, `json $.sid == 17 ± 1: found "17"`},
		{"json $.id == {{name}} ± 1", ok, `json $.id == {{name}} ± 1: wanted a number, found "Ada" in the check itself`},
		{"json $.id != 18", ok, ""},
		{"json $.id != {{id}}", ok, "json $.id != {{id}}: wanted != 17, found 17"},
		{"json $.gone != 1", ok, `json $.gone != 1: found nothing there in "{"id":17,"sid":"17","name":"Ada","esc":"\u0041da","prob":…" (` + fmt.Sprint(len(jsonBody)) + " bytes)"},
		{"json $.id < 18", ok, ""},
		{"json $.id < 17", ok, "json $.id < 17: found 17"},
		{"json $.id <= 17", ok, ""},
		{"json $.id <= 16.9", ok, "json $.id <= 16.9: found 17"},
		{"json $.id > {{prob}}", ok, ""},
		{"json $.id > {{id}}", ok, "json $.id > {{id}}: wanted > 17, found 17"},
		{"json $.id >= 17", ok, ""},
		{"json $.id >= 1e2", ok, "json $.id >= 1e2: found 17"},
		{"json $.sid > 1", ok, `json $.sid > 1: found "17"`},
		{"json $.id > {{name}}", ok, `json $.id > {{name}}: wanted a number, found "Ada" in the check itself`},
		{"json $.nil exists", ok, ""},
		{"json $ exists", ok, ""},
		{"json $.x exists", grpc, `json $.x exists: found not JSON: at byte 0 wanted a value, found 'A' of "Ada"`},
		{"json $.x exists", &Answer{Body: []byte("{}")}, `json $.x exists: found nothing there in "{}"`},
		{"json $.x not exists", &Answer{Body: []byte("{}")}, ""},
		{"json $.x not exists", &Answer{Body: []byte(`{"x":"oh"}`)}, `json $.x not exists: found "oh"`},
		{"json $.x not exists", gone, "json $.x not exists: found not JSON: it ends at byte 0 where a value was wanted of an empty body"},
		{"json $.id == {{saved}}", ok, ""},
	} {
		check, err := CompileCheck(c.text, rows, []string{"saved"})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		got := ""
		if err := check.Judge(&Context{Vars: [][]byte{[]byte("17")}}, c.answer); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.text, got, c.want)
		}
		if check.IsStatus() != strings.HasPrefix(strings.TrimSpace(c.text), "status") {
			t.Errorf("%s: IsStatus is %v", c.text, check.IsStatus())
		}
		if row := strings.Contains(c.text, "{{") && !strings.Contains(c.text, "saved"); check.NeedsRow() != row {
			t.Errorf("%s: NeedsRow is %v", c.text, check.NeedsRow())
		}
	}
}

func TestCheckOfSecondRowTellsLargeNumbersApart(t *testing.T) {
	rows := table(t, "a.jsonl", `{"id":9007199254740993}`+"\n"+`{"id":9007199254740992}`)
	check, err := CompileCheck("json $.id == {{id}}", rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := &Answer{Body: []byte(`{"id":9007199254740993}`)}
	if err := check.Judge(&Context{Row: 0}, answer); err != nil {
		t.Error(err)
	}
	if err := check.Judge(&Context{Row: 1}, answer); err == nil {
		t.Error("numbers that differ in the last digit count as equal")
	}
}

func TestCompileCheckRefuses(t *testing.T) {
	rows := table(t, "a.csv", "id,name\n1,a\n")
	for text, want := range map[string]string{
		"":                         `a check begins with status, body, header or json, not with ""`,
		"latency < 5":              `a check begins with status, body, header or json, not with "latency"`,
		"staus == 200":             `a check begins with status, body, header or json, not with "staus", did you mean status?`,
		"status":                   `wanted one of ==  !=  <  <=  >  >=  in, found ""`,
		"status = 200":             `wanted one of ==  !=  <  <=  >  >=  in, found "="; equality is written ==`,
		"status contains 2":        `wanted one of ==  !=  <  <=  >  >=  in, found "contains"`,
		"status ==":                "no status; wanted a number such as 200, a class such as 2xx, or the name of a gRPC code",
		"status in 200,":           "no status; wanted a number such as 200, a class such as 2xx, or the name of a gRPC code",
		"status == 1000":           `"1000" is no status; wanted a number`,
		"status == 6xx":            `"6xx" is no status; wanted a number`,
		"status == NOTFOUND":       `"NOTFOUND" is no status, did you mean NOT_FOUND?; wanted a number`,
		"status == ok":             `"ok" is no status, did you mean OK?; wanted a number`,
		"status == 200,201":        `"200,201" is no status; for several write: status in 200,201`,
		"status < 2xx":             "< takes one number",
		"status >= OK":             ">= takes one number",
		"status == {{id}}":         "a status is no template; write a number, a class or a name",
		"body":                     `wanted one of ==  contains  not contains, found ""`,
		"body matches x":           `wanted one of ==  contains  not contains, found "matches"`,
		"body containsx":           `wanted one of ==  contains  not contains, found "containsx"`,
		"body contains":            "nothing after contains; wanted a text",
		"body not contains ":       "nothing after not contains; wanted a text",
		"body == {{nam}}":          "template: at 1:1: {{nam}}: there is no such name, did you mean name?; there are columns id, name; built-ins",
		"body == {{uuid}}":         "{{uuid}} and {{rand}} draw a new value, which no answer can hold",
		"json $.a == {{rand 1 2}}": "{{uuid}} and {{rand}} draw a new value, which no answer can hold",
		"header":                   "wanted a name and a text, as in header Content-Type contains json",
		"header X":                 "wanted a name and a text, as in header Content-Type contains json",
		"header == x":              "wanted a name and a text, as in header Content-Type contains json",
		"header X: == x":           `"X:" is no name of a header field`,
		"header X != x":            `wanted one of ==  contains, found "!="`,
		"header X contains":        "nothing after contains; wanted a text",
		"json":                     "path : at character 1: a path begins with $",
		"json a == 1":              "path a == 1: at character 1: a path begins with $",
		"json $..a == 1":           "path $..a == 1: at character 3: a path leads to one value",
		"json $.a":                 `wanted one of ==  !=  <  <=  >  >=  exists  not exists, found ""`,
		"json $.a is 1":            `wanted one of ==  !=  <  <=  >  >=  exists  not exists, found "is"`,
		"json $.user-id == 1":      `after the path $.user wanted one of ==  !=  <  <=  >  >=  exists  not exists, found "-id"; a name with other characters than letters, digits and _ is written ['so-named']`,
		"json $.a ==":              "nothing after ==; wanted JSON or a template",
		"json $.a == hello":        `hello is no JSON; a text is written in double quotes: "…"`,
		"json $.a == {\"a\":}":     `{"a":} is no JSON; a text is written in double quotes: "…"`,
		"json $.a < \"x\"":         `wanted a number, found "x"`,
		"json $.a == \"x\" ± 1":    `wanted a number, found "x"`,
		"json $.a == 1 ± x":        `after ± comes a number, such as 1e-6, not "x"`,
		"json $.a == 1 ± {{id}}":   `after ± comes a number, such as 1e-6, not "{{id}}"`,
		"json $.a == {{id}} +- ":   `after ± comes a number, such as 1e-6, not ""`,
		"json $.a == 1 ± -1":       "the tolerance -1 is not between 0 and 1e308",
		"json $.a == 1 ± 1e999":    "the tolerance 1e999 is not between 0 and 1e308",
		"json $.a < 1 ± 1":         "a tolerance goes with ==, not with <",
		"json $.a == ± 1":          "nothing before ±; wanted a number or a template",
		"json $.a exists now":      "nothing comes after exists",
		"json $.a not exists 1":    "nothing comes after not exists",
		"json $.a == {{id":         "template: at 1:1: {{ without }}",
	} {
		_, err := CompileCheck(text, rows, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "check "+text+": "+want) && !strings.HasPrefix(err.Error(), "check "+strings.TrimSpace(text)+": "+want) {
			t.Errorf("%s:\ngot  %v\nwant check %s: %s", text, err, text, want)
		}
	}
}

func TestErrorsOfJudgeAreShortAndPrintable(t *testing.T) {
	long := strings.Repeat("é\x1b[31m", 1000)
	rows := table(t, "a.csv", "v\nz"+long+"\n")
	for _, text := range []string{"body == {{v}}", "body contains z" + long, "header X == {{v}}", "json $ == {{v}}", `json $.a == {{v}}`, "json $.a > {{v}}", `json $.a == "{{v}}`} {
		check, err := CompileCheck(text, rows, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{long, `"` + strings.Repeat("é\u202e", 1000) + `"`, `{"a":"` + strings.Repeat("x", 1000) + `"}`} {
			err := check.Judge(&Context{}, &Answer{Body: []byte(body), Header: func(string) string { return long }})
			if err == nil || len(err.Error()) > 200 || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x1b\u202e\n") {
				t.Errorf("%s: %d bytes, %q", cut(text, 30), len(fmt.Sprint(err)), err)
			}
		}
	}
}

func TestCompareNumbers(t *testing.T) {
	ascending := []string{
		"-1e99999999999999999999", "-1e3", "-999.5", "-1", "-0.1", "-1e-400", "0", "1e-400", "1e-7", "0.00000011", "0.1", "0.10000000000000000001",
		"1", "1.5", "9", "10", "99", "1e2", "100.01", "9007199254740992", "9007199254740993", "1e400", "1e99999999999999999999",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := compareNumbers([]byte(a), []byte(b)); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
	for _, same := range [][]string{
		{"0", "-0", "0.0", "0e5", "-0.00E-3"}, {"1", "1.0", "1e0", "0.1e1", "10E-1", "100e-2", "0.001e+3"}, {"-12.50", "-1.25e1", "-125e-1"},
	} {
		for _, a := range same {
			for _, b := range same {
				if compareNumbers([]byte(a), []byte(b)) != 0 {
					t.Errorf("%s and %s differ", a, b)
				}
			}
		}
	}
}

func TestEqualJSONOfNamesThatComeTwiceTakesTheFirst(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"a":2}`, `{"a":1}`, true},
		{`{"a":1,"a":2}`, `{"a":2}`, false},
		{`{"a":1}`, `{"a":1,"a":3}`, true},
		{`{"\u0061":1}`, `{"a":1.0}`, true},
		{`{"a":1,"b":2}`, `{"a":1,"a":2}`, false},
		{`["\u00e9\n"]`, `["é\u000a"]`, true},
		{`["\u00e9\n"]`, `["é\u000b"]`, false},
	} {
		if equalJSON([]byte(c.a), []byte(c.b)) != c.want || equalJSON([]byte(c.b), []byte(c.a)) != c.want {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.want)
		}
	}
}

func TestEqualJSONOfHostileNestingIsQuick(t *testing.T) {
	// With each of the equal names compared, this would take 4^200 steps.
	nested := "1"
	for range 200 {
		nested = `{"a":` + nested + `,"a":0,"a":0,"a":0}`
	}
	if !equalJSON([]byte(nested), []byte(nested)) {
		t.Error("it does not equal itself")
	}
}

func FuzzCompileCheck(f *testing.F) {
	rows := table(f, "a.csv", "id,name,prob\n17,\"A\"\"b\",\n")
	for _, seed := range []string{
		"status == 200", "status in 2xx,NOT_FOUND", "body not contains {{name}}", "body ==", "header X contains {{v}}",
		"json $.id == {{id}}", "json $.p == {{prob}} ± 1e-6", `json $['a'][-1] != {"a":[1,{}]}`, "json $ < 1e3", "json $.a exists",
		`json $ == "a ± b"`, "json $ == [{{id..prob|json}}]", "json $ == {{row}}", "json $ == {{v|json}}",
	} {
		f.Add(seed, []byte(`{"id":17,"a":["x",{"b":null}],"p":1e-7}`), "v\xff")
	}
	f.Fuzz(func(t *testing.T, text string, body []byte, v string) {
		check, err := CompileCheck(text, rows, []string{"v"})
		if err != nil {
			return
		}
		header := func(string) string { return v }
		for _, answer := range []*Answer{
			{Status: 200, Header: header, Body: body},
			{Status: 5, StatusName: "NOT_FOUND", Body: []byte(v)},
		} {
			c := &Context{Vars: [][]byte{[]byte(v)}}
			first := check.Judge(c, answer)
			if first != nil && (len(first.Error()) > 200 || !utf8.ValidString(first.Error())) {
				t.Fatalf("%q", first)
			}
			if strings.Contains(text, "now") {
				continue
			}
			if again := check.Judge(c, answer); (first == nil) != (again == nil) {
				t.Fatalf("%q: first %v, then %v", text, first, again)
			}
		}
	})
}

func TestOneTableTemplateAndCheckServeManyUsers(t *testing.T) {
	rows := table(t, "a.jsonl", `{"id":"a\n1"}`+"\n"+`{"id":"b\n2"}`)
	body, err := Compile(`{"id":{{id|json}},"key":"{{unique}}"}`, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	same, err := CompileCheck("json $.id == {{id}}", rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	var users sync.WaitGroup
	for user := range 8 {
		users.Go(func() {
			var buf []byte
			c := &Context{Row: user % 2}
			for c.Seq = range uint64(200) {
				buf = body.Append(buf[:0], c)
				if err := same.Judge(c, &Answer{Body: buf}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	users.Wait()
}
