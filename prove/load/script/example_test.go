package script_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/dougong-io/dougong/prove/load/script"
)

const loans = `id,name,f0,f1,f2,prob
17,Ada,0.5,,x,0.25
18,"Bo ""B""",1,2,3,0.75
`

func ExampleCompile() {
	rows, err := script.ReadTable(strings.NewReader(loans), "loans.csv", 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	body, err := script.Compile(`{"id":{{id|string}},"who":{{name|json}},"x":[{{f0..f2|json}}]}`, rows, nil)
	if err != nil {
		log.Fatal(err)
	}
	var buf []byte
	for row := range rows.Len() {
		buf = body.Append(buf[:0], &script.Context{Row: row})
		fmt.Println(string(buf))
	}
	_, err = script.Compile("{{nmae}}", rows, []string{"token"})
	fmt.Println(err)
	// Output:
	// {"id":"17","who":"Ada","x":[0.5,null,"x"]}
	// {"id":"18","who":"Bo \"B\"","x":[1,2,3]}
	// template: at 1:1: {{nmae}}: there is no such name, did you mean name?; there are columns id, name, f0, f1, f2, prob; variables token; built-ins row, seq, unique, uuid, rand, now, now_ms
}

func ExampleCompileCheck() {
	rows, err := script.ReadTable(strings.NewReader(loans), "loans.csv", 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	check, err := script.CompileCheck("json $.prob == {{prob}} ± 1e-6", rows, nil)
	if err != nil {
		log.Fatal(err)
	}
	answer := &script.Answer{Status: 200, Body: []byte(`{"prob": 0.2500001}`)}
	fmt.Println(check.Judge(&script.Context{Row: 0}, answer))
	fmt.Println(check.Judge(&script.Context{Row: 1}, answer))
	// Output:
	// <nil>
	// json $.prob == {{prob}} ± 1e-6: wanted 0.75 ± 1e-06, found 0.2500001
}

func ExamplePath() {
	body := []byte(`{"users": [{"name": "Ada"}, {"name": "Bo \"B\""}]}`)
	path, err := script.ParsePath("$.users[-1].name")
	if err != nil {
		log.Fatal(err)
	}
	value, ok, err := path.Find(body)
	fmt.Println(string(value), ok, err)
	text, err := script.Extract(path, body)
	fmt.Println(string(text), err)
	// Output:
	// "Bo \"B\"" true <nil>
	// Bo "B" <nil>
}
