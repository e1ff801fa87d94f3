package script

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// wide is a table of 10 columns whose values make up some 800 bytes, a third of them numbers.
func wide(t testing.TB, name string) *Table {
	var header, cells, object []string
	for i := range 10 {
		column := fmt.Sprintf("c%d", i)
		value := strings.Repeat("abcdefgh ", 12) + "é"
		quoted := `"` + value + `"`
		if i%3 == 0 {
			value = fmt.Sprintf("%d.125", i)
			quoted = value
		}
		header, cells = append(header, column), append(cells, value)
		object = append(object, `"`+column+`":`+quoted)
	}
	text := strings.Join(header, ",") + "\n" + strings.Repeat(strings.Join(cells, ",")+"\n", 100)
	if strings.HasSuffix(name, "jsonl") {
		text = strings.Repeat("{"+strings.Join(object, ",")+"}\n", 100)
	}
	return table(t, name, text)
}

func wideBody(t testing.TB, rows *Table) *Template {
	var b strings.Builder
	b.WriteString(`{"model":"loan","padding":"` + strings.Repeat("-", 150) + `"`)
	for i := range 10 {
		fmt.Fprintf(&b, `,"field_%d":{{c%d|json}}`, i, i)
	}
	b.WriteString("}")
	template, err := Compile(b.String(), rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func TestAppendAllocatesNothing(t *testing.T) {
	now := time.Now()
	c := &Context{Row: 3, Run: "r", Rand: rand.New(rand.NewPCG(1, 2)), Vars: [][]byte{[]byte(strings.Repeat("v\"", 30))}, Now: func() time.Time { return now }}
	for _, name := range []string{"a.csv", "a.jsonl"} {
		rows := wide(t, name)
		for _, text := range []string{
			"{{c1}}{{c1|json}}{{c1|string}}{{c1|url}}{{c0|json}}", "{{c0..c9|json}}", "{{row}}", "{{row|string}}", "{{v}}{{v|json}}{{v|url}}",
			"{{seq|string}}{{unique}}{{unique|json}}{{uuid}}{{uuid|json}}{{rand 1 100}}{{now}}{{now|json}}{{now_ms}}",
		} {
			template, err := Compile(text, rows, []string{"v"})
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 0, 1<<16)
			if n := testing.AllocsPerRun(100, func() { buf = template.Append(buf[:0], c) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", name, text, n)
			}
		}
	}
}

func TestJudgeAllocatesNothingWhenItHolds(t *testing.T) {
	text := strings.Repeat("é, and so on ", 10)
	rows := table(t, "a.csv", "id,prob,text\n17,0.25,\""+text+"\"\n")
	field := "x" + text
	answer := &Answer{Status: 200, Header: func(string) string { return field }, Body: []byte(`{"skipped":[1,{"a":"\n"}],"prob":0.2500001,"id":17,"text":"` + text + `","esc":"\u00e9` + text[2:] + `","o":{"t":["` + text + `"]},"nil":null}`)}
	c := &Context{}
	for _, text := range []string{
		"status == 200", "status in 200,201", "status == 2xx", "status < 500", "body contains prob", "body contains {{text}}", "body not contains {{text}}{{text}}",
		"header X contains {{text}}", "header X == x{{text}}", "json $.id == 17", "json $.id == {{id}}", "json $.prob == {{prob}} ± 1e-6", "json $.prob < 1",
		"json $.text == {{text}}", "json $.text == {{text|json}}", "json $.esc == {{text}}", "json $.esc == {{text|string}}", "json $['\\u006f'] == {\"t\":[{{text|json}}]}",
		"json $.id exists", "json $.gone not exists", "json $.id != 18", "json $.skipped[-1].a exists", "json $.nil == null",
	} {
		check, err := CompileCheck(text, rows, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := check.Judge(c, answer); err != nil {
			t.Errorf("%v", err)
			continue
		}
		if n := testing.AllocsPerRun(100, func() { _ = check.Judge(c, answer) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

func TestFindAndExtractAllocateNothing(t *testing.T) {
	p, err := ParsePath(`$.a["b\u00e9"][-1]`)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"x":[[],{"a":1}],"a":{"b\u00E9":[1,2,"three"]}}`)
	if n := testing.AllocsPerRun(100, func() {
		if text, err := Extract(p, body); err != nil || len(text) != 5 {
			t.Fatal(string(text), err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, name := range []string{"rows.csv", "rows.jsonl"} {
		b.Run(name, func(b *testing.B) {
			rows := wide(b, name)
			template := wideBody(b, rows)
			buf := template.Append(nil, &Context{})
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			c := &Context{}
			for b.Loop() {
				c.Row = (c.Row + 1) % rows.Len()
				buf = template.Append(buf[:0], c)
			}
		})
	}
}

func BenchmarkAppendBuiltIns(b *testing.B) {
	for _, text := range []string{"{{unique}}", "{{uuid}}", "{{rand 1 100}}", "{{now}}"} {
		b.Run(text, func(b *testing.B) {
			template, err := Compile(text, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			c := &Context{Run: "run", Rand: rand.New(rand.NewPCG(1, 2))}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = template.Append(buf[:0], c)
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	rows := wide(b, "rows.csv")
	body := []byte(`{"model":"loan","version":"2026-01-02","padding":"` + strings.Repeat("-", 150) + `","explain":[` + strings.Repeat(`{"f":"income","w":0.125},`, 9) + `{}],"prob":3.1250001}`)
	for _, text := range []string{"status == 200", "body contains prob", "json $.model == \"loan\"", "json $.prob == {{c3}} ± 1e-6"} {
		b.Run(text, func(b *testing.B) {
			check, err := CompileCheck(text, rows, nil)
			if err != nil {
				b.Fatal(err)
			}
			c, answer := &Context{}, &Answer{Status: 200, Body: body}
			b.ReportAllocs()
			for b.Loop() {
				if err := check.Judge(c, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadTable(b *testing.B) {
	var csv, jsonl bytes.Buffer
	csv.WriteString("a,b,c,d\n")
	for i := range 10000 {
		fmt.Fprintf(&csv, "%d,%d.5,text %d,\n", i, i, i)
		fmt.Fprintf(&jsonl, `{"a":%d,"b":%d.5,"c":"text %d","d":null}`+"\n", i, i, i)
	}
	for name, data := range map[string][]byte{"rows.csv": csv.Bytes(), "rows.jsonl": jsonl.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ReadTable(bytes.NewReader(data), name, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
