// Package script is the small language in which a load plan says what to ask and what to expect: templates over
// rows of a file, JSON paths, and checks of answers. All of it is compiled before load starts, so that a mistake is
// an error with a position and not a run of failures; what is left for each request copies bytes and, once its
// buffers have grown, allocates nothing.
//
//	rows, err := script.ReadTable(file, "rows.csv", 1<<30)
//	body, err := script.Compile(`{"id":{{id|string}},"x":[{{f0..f71|json}}]}`, rows, nil)
//	same, err := script.CompileCheck(`json $.prob == {{prob}} ± 1e-6`, rows, nil)
//	c := &script.Context{Row: 7}
//	buf = body.Append(buf[:0], c)
//	err = same.Judge(c, &script.Answer{Status: 200, Body: answer})
//
// It is no programming language and will not become one: it has no conditions, loops or functions. A request that
// needs them is written in Go, against package load.
//
// # Templates
//
// An expression stands between {{ and }}; all else is copied as it is. To write {{ itself, write {{{{.
//
//	{{name}}          column or saved variable as raw text; of two with one name it is the variable
//	{{name|json}}     as a JSON value
//	{{name|string}}   as a quoted JSON string, whatever it holds
//	{{name|url}}      percent-encoded for a query or for a segment of a path (a space becomes %20)
//	{{row.name}}      the column, also where a built-in or a variable has its name
//	{{row}}           the whole row: the line itself of JSONL, an object of the columns of CSV
//	{{a..b|json}}     the columns from a to b in the order of the header, as JSON values joined by commas
//	{{seq}}           number of the request in the run, from 0
//	{{unique}}        a key that no other request has: the run, a hyphen, the number
//	{{uuid}}          a random UUID (version 4)
//	{{rand 1 100}}    a random whole number, both ends included
//	{{now}}           the time in UTC as of RFC 3339, with nanoseconds
//	{{now_ms}}        the time in milliseconds since 1970
//
// The filters json, string and url go with the built-ins too. As JSON, what came from JSONL keeps its type. What has
// no type, a cell of CSV or a saved variable, is a number when it is written as JSON writes numbers, null when it is
// empty, and else a string. As raw text null is empty, and an array or an object is compact JSON. A column whose name
// holds |, {{ or }}, or begins or ends with a space, is reached by {{row}} and by ranges only. Raw text is not escaped
// in any way: who renders a path or a header field has to refuse line ends in it.
//
// # Paths
//
// A path is a singular query of RFC 9535 (section 2.3.5.1): $ for the whole, then .name, ['name'], ["name"], [0] or
// [-1], the last element. Wildcards, slices, filters and descendants are refused, as they may find several values.
//
// # Checks
//
//	status == 200            also != < <= > >=
//	status == 2xx            a class
//	status == NOT_FOUND      a gRPC code by name
//	status in 200,201,404    also classes and names
//	body == TEXT             also: contains, not contains
//	header NAME == TEXT      also: contains
//	json PATH == VALUE       also != < <= > >=, of which the last four take numbers only
//	json PATH == VALUE ± N   within N of a number, up to the rounding of float64; +- does for ±
//	json PATH exists         also: not exists; null exists
//
// TEXT is the rest of the line without the spaces around it; quotes in it count. VALUE is JSON. Both may be
// templates. Where a VALUE has expressions of raw text and does not begin as a JSON string, array or object, as in
// json $.id == {{id}}, what it renders is a text: it equals a string with that text, a number of that value, true,
// false, null when it is null or empty, and an array or object when it is the same JSON. In all other cases types
// count too: 1 is not "1". Numbers compare by their exact decimal value (1 == 1.0 == 1e0), objects without regard to
// the order of their names. Of a path that leads nowhere only not exists holds, and != does not.
package script
