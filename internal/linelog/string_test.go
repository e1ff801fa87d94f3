package linelog

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestStringsAreEscapedAndCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 8, `""`},
		{"a b~", 8, `"a b~"`},
		{`"\/`, 8, `"\"\\/"`},
		{"\n\r\t\x00\x1b\x7f", 8, `"\n\r\t\u0000\u001b\u007f"`},
		{"é 中 😀", 16, `"é 中 😀"`},
		{"\u0085\u2028\u2029\u00a0", 16, `"\u0085\u2028\u2029\u00a0"`},                         // ends of lines, and a space that is none
		{"\u061c\u200b\u200e\u202e\u2066\ufeff", 32, `"\u061c\u200b\u200e\u202e\u2066\ufeff"`}, // turn text around, or cannot be seen
		{"\U000e0041\U0010ffff", 16, `"\udb40\udc41\udbff\udfff"`},
		{"a\xffb\xc3", 8, `"a\ufffdb\ufffd"`},
		{"\ufffd", 8, `"` + "\ufffd" + `"`}, // which came as it is
		{"abcd", 4, `"abcd"`},
		{"abcde", 4, `"abcd…"`},
		{"abcé", 4, `"abc…"`},
		{"a😀", 4, `"a…"`},
		{"\"\"\"\"\"", 4, `"\"\"\"\"…"`},
	} {
		if got := string(AppendString([]byte("x"), c.in, c.limit)); got != "x"+c.want {
			t.Errorf("%q to %d: %s, want %s", c.in, c.limit, got[1:], c.want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain", 8)
	f.Add("\x00\"\\\n\u2028\u202e\U000e0041\xff", 256)
	f.Add(strings.Repeat("😀", 4), 10)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 1 || limit > 1<<16 {
			return
		}
		b := AppendString(nil, s, limit)
		if len(b) > 6*limit+len(`"…"`) || !utf8.Valid(b) {
			t.Fatalf("%d bytes: %q", len(b), b)
		}
		for _, r := range string(b) {
			if !unicode.IsPrint(r) {
				t.Fatalf("%U in %q", r, b)
			}
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v: %q", err, b)
		}
		if len(s) <= limit && utf8.ValidString(s) && back != s {
			t.Fatalf("%q became %q", s, back)
		}
		if len(s) > limit && (!strings.HasSuffix(back, "…") || utf8.ValidString(s) && !strings.HasPrefix(s, strings.TrimSuffix(back, "…"))) {
			t.Fatalf("%q to %d became %q", s, limit, back)
		}
	})
}
