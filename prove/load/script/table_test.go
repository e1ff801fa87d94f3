package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func table(t testing.TB, name, text string) *Table {
	t.Helper()
	rows, err := ReadTable(strings.NewReader(text), name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func render(t testing.TB, text string, rows *Table, row int) string {
	t.Helper()
	template, err := Compile(text, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(template.Append(nil, &Context{Row: row}))
}

func TestReadTableByExtensionThenFirstByte(t *testing.T) {
	for _, c := range []struct{ name, text, columns string }{
		{"a.csv", "a,b\n1,2\n", "a b"},
		{"a.CSV", "{,b\n1,2", "{ b"},
		{"a.jsonl", `{"a":1,"b":2}`, "a b"},
		{"a.NDJSON", "\n {\"a\":1}\r\n\n{\"b\":2,\"a\":3}\n", "a b"},
		{"a.txt", `{"a":1}`, "a"},
		{"", "a\n1", "a"},
		{"bom.csv", "\ufeffa,b\n1,2\n", "a b"},
		{"bom.jsonl", "\ufeff{\"a\":1}\n", "a"},
		{"spaces.csv", "a , b\n1,2\n", "a b"},
		{"escape.jsonl", `{"\u0061":1}` + "\n" + `{"a":2}`, "a"},
	} {
		rows, err := ReadTable(strings.NewReader(c.text), c.name, 1000)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(rows.Columns(), " "); got != c.columns {
			t.Errorf("%s: columns %q, want %q", c.name, got, c.columns)
		}
	}
}

func TestReadTableRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a.csv", "", "a.csv: empty; wanted CSV with a header, or JSONL"},
		{"a.csv", "\ufeff \n", "a.csv: empty; wanted CSV with a header, or JSONL"},
		{"a.csv", "a,b\n", "a.csv:1: a header, but no rows"},
		{"a.csv", "a,b,a\n1,2,3\n", "a.csv:1: columns 1 and 3 of the header are both called a"},
		{"a.csv", "a,,b\n1,2,3\n", "a.csv:1: column 2 of the header has no name"},
		{"a.csv", "a,b\n1,2\n\n3\n", "a.csv:4: 1 cells where the header has 2 columns"},
		{"a.csv", "a,b\n1,2\n3,4,5\n", "a.csv:3: 3 cells where the header has 2 columns"},
		{"a.csv", "a,b\n1,x\"y\n", `a.csv:2: a quote within a cell; write the cell in quotes and the quote twice: "say ""hi"""`},
		{"a.csv", "a,b\n1,\"x\n\ny", "a.csv:2: a quote that is not closed, or not doubled, from here to line 4"},
		{"a.csv", "a,b\n1,\"x\"y\n", "a.csv:2: a quote that is not closed, or not doubled"},
		{"a.csv", "a,b\n1,\x00\n", "a.csv:2: a zero byte; wanted text, CSV or JSONL"},
		{"a.csv", "a,b\n1,é\xe9\n", "a.csv:2: byte 0xe9 is not UTF-8; save the file as UTF-8"},
		{"a.csv", "\xff\xfea\x00", "a.csv:1: this is UTF-16; save it as UTF-8"},
		{"a.csv", "a\n" + strings.Repeat("1\n", 600), "a.csv: larger than 1000 bytes; use fewer rows or raise the limit"},
		{"a.jsonl", "[1]", "a.jsonl:1: wanted an object, found [1]"},
		{"a.jsonl", "{\"a\":1}\n\n7\n", "a.jsonl:3: wanted an object, found 7"},
		{"a.jsonl", "{\"a\":1}\n{\"a\":\n1}", "a.jsonl:2: not JSON: it ends at byte 5 where a value was wanted; each line has to be one whole object"},
		{"a.jsonl", `{"a":1} {"a":2}`, "a.jsonl:1: not JSON: at byte 8 wanted nothing more, found '{'; each line has to be one whole object"},
		{"a.jsonl", `{"a":1,"\u0061":2}`, "a.jsonl:1: the name a comes twice in one object"},
		{"a.jsonl", "{}\n{}", "a.jsonl:1: no object has a name in it"},
	} {
		_, err := ReadTable(strings.NewReader(c.text), c.name, 1000)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\ngot  %v\nwant %s", cut(c.text, 40), err, c.want)
		}
	}
}

func TestReadTableTellsOfUnreadableFile(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := ReadTable(io.MultiReader(strings.NewReader("a\n1\n"), iotest.ErrReader(broken)), "rows.csv", 0)
	if !errors.Is(err, broken) || err.Error() != "rows.csv: disk on fire" {
		t.Errorf("got %v", err)
	}
}

func TestReadTableBoundsMemoryOfSparseRows(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"x":0`)
	for i := range 500 {
		b.WriteString(`,"` + strings.Repeat("k", i%50+1) + string(rune('a'+i/50)) + `":1`)
	}
	b.WriteString("}\n")
	b.WriteString(strings.Repeat("{}\n", 1000))
	_, err := ReadTable(&b, "a.jsonl", int64(b.Len()))
	if err == nil || !strings.Contains(err.Error(), "different names by here, too many for") {
		t.Errorf("got %v", err)
	}
}

func TestReadTableLimitIsInclusive(t *testing.T) {
	if _, err := ReadTable(strings.NewReader("a\n1\n"), "a.csv", 4); err != nil {
		t.Error(err)
	}
	if _, err := ReadTable(strings.NewReader("a\n1\n"), "a.csv", 3); err == nil {
		t.Error("4 bytes passed a limit of 3")
	}
}

func TestCellsOfCSV(t *testing.T) {
	rows := table(t, "a.csv", "v\n"+strings.Join([]string{
		"1", "-0.5e3", "01", "1.", "NaN", "true", `""`, " 1", `"a ""b"""`, "é", "\"a\nb\"", `\`, "null",
	}, "\n"))
	want := []string{
		"1", "-0.5e3", `"01"`, `"1."`, `"NaN"`, `"true"`, "null", `" 1"`, `"a \"b\""`, `"é"`, `"a\nb"`, `"\\"`, `"null"`,
	}
	if rows.Len() != len(want) {
		t.Fatalf("%d rows, want %d", rows.Len(), len(want))
	}
	for i, w := range want {
		if got := render(t, "{{v|json}}", rows, i); got != w {
			t.Errorf("row %d: %s, want %s", i, got, w)
		}
		if got := render(t, "{{row}}", rows, i); got != `{"v":`+w+"}" {
			t.Errorf("row %d: whole row %s", i, got)
		}
	}
}

func TestCellsOfJSONL(t *testing.T) {
	lines := []string{
		`{"v":1.0}`, `{"v":true}`, `{"v":null}`, `{"v":"1"}`, `{"v":"a\u0062\n\"\ud83d\ude00"}`,
		`{ "v" : { "a" : [ 1, "x y" ] } }`, `{"w":1}`, `{"v":""}`, `{"v":"\ud800"}`, `{"w":[ ],"v":"tail"}`,
	}
	rows := table(t, "a.jsonl", strings.Join(lines, "\n")+"\n")
	for i, want := range []struct{ raw, json, text string }{
		{"1.0", "1.0", `"1.0"`},
		{"true", "true", `"true"`},
		{"", "null", `""`},
		{"1", `"1"`, `"1"`},
		{"ab\n\"😀", `"ab\n\"😀"`, `"ab\n\"😀"`},
		{`{"a":[1,"x y"]}`, `{"a":[1,"x y"]}`, `"{\"a\":[1,\"x y\"]}"`},
		{"", "null", `""`},
		{"", `""`, `""`},
		{"\ufffd", "\"\ufffd\"", "\"\ufffd\""},
		{"tail", `"tail"`, `"tail"`},
	} {
		if got := render(t, "{{v}}", rows, i); got != want.raw {
			t.Errorf("row %d: %q, want %q", i, got, want.raw)
		}
		if got := render(t, "{{v|json}}", rows, i); got != want.json {
			t.Errorf("row %d as JSON: %s, want %s", i, got, want.json)
		}
		if got := render(t, "{{v|string}}", rows, i); got != want.text {
			t.Errorf("row %d as a string: %s, want %s", i, got, want.text)
		}
		if got := render(t, "{{row}}", rows, i); got != lines[i] {
			t.Errorf("row %d: %s, want the line %s", i, got, lines[i])
		}
	}
}

func TestColumnsCannotBeChangedFromOutside(t *testing.T) {
	rows := table(t, "a.csv", "a,b\n1,2")
	rows.Columns()[0] = "z"
	if got := rows.Columns(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

func FuzzReadTable(f *testing.F) {
	f.Add("a.csv", []byte("a,b\n1,\"x \"\"y\"\"\"\n"))
	f.Add("a.csv", []byte("\ufeffa;b\r\n\r\n\"\n\"\r\n"))
	f.Add("a.jsonl", []byte("{\"a\":1,\"b\":[1, 2]}\n{\"b\":\"\\u00e9\\n\",\"c\":null}\n"))
	f.Add("a.jsonl", []byte(`{"":{"":""}}`))
	f.Add("", []byte("{\"a\\\"\":\"\\ud83d\\ude00\"}"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		const limit = 1 << 16
		rows, err := ReadTable(bytes.NewReader(data), name, limit)
		if err != nil {
			if !strings.HasPrefix(err.Error(), name+":") {
				t.Fatalf("no name in %q", err)
			}
			return
		}
		if len(rows.cells) != rows.Len()*len(rows.Columns()) || rows.Len() < 1 {
			t.Fatalf("%d cells, %d rows, %d columns", len(rows.cells), rows.Len(), len(rows.Columns()))
		}
		for row := range rows.Len() {
			line := rows.appendRow(nil, row)
			if !json.Valid(line) {
				t.Fatalf("row %d: %q", row, line)
			}
			whole := decode(line).(object)
			for i, column := range rows.columns {
				value := rows.appendCell(nil, row, i, filterJSON)
				if !json.Valid(value) {
					t.Fatalf("row %d: %q", row, value)
				}
				var text string
				if err := json.Unmarshal(rows.appendCell(nil, row, i, filterString), &text); err != nil {
					t.Fatalf("row %d: %v", row, err)
				}
				if raw := string(rows.appendCell(nil, row, i, filterRaw)); raw != text {
					t.Fatalf("row %d, column %q: raw %q, as a string %q", row, column, raw, text)
				}
				if !sameJSON(decode(value), whole[column]) {
					t.Fatalf("row %d, column %q: %s in the cell, %v in the row", row, column, value, whole[column])
				}
			}
		}
	})
}
