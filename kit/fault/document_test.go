package fault

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseTakesEveryEffect(t *testing.T) {
	d, err := Parse([]byte(everyEffect))
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Rules) != len(effects) {
		t.Fatalf("%d rules for %d effects", len(d.Rules), len(effects))
	}
	for i, r := range d.Rules {
		if name, _, n := r.effect(); name != effects[i] || n != 1 {
			t.Errorf("rule %d is %s (%d)", i, name, n)
		}
	}
	kept(t, d)
	r, err := ParseRule([]byte(`{"id":"r","point":"a.*","for":"3s","hang":{}}`))
	if err != nil || r.Hang == nil || r.For != 3e9 {
		t.Error(r, err)
	}
	if _, err := ParseKept([]byte(`{"version":1,"rules":[{"id":"r","point":"*","for":"3s","hang":{}}]}`)); err == nil || !strings.Contains(err.Error(), "rules[0].for") {
		t.Error(err)
	}
}

// kept reports whether what was read is written so that it is read again.
func kept(t *testing.T, d Document) {
	t.Helper()
	out, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(out)
	if err != nil || !reflect.DeepEqual(again, d) {
		t.Fatalf("%v\nfrom %s", err, out)
	}
	for _, r := range d.Rules {
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again Rule
		if err := json.Unmarshal(out, &again); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%v\nfrom %s", err, out)
		}
	}
}

const everyEffect = `{"version": 1, "rules": [
	{"id": "a", "point": "*", "delay": {"fixed": "5ms", "jitter": "1ms", "distribution": "normal", "max": "10ms"}, "expires": "2026-11-22T10:00:00Z"},
	{"id": "b", "point": "inference.*", "where": {"model": "loan-*"}, "probability": 0.5, "error": {"cause": "no_space", "http_status": 503, "grpc_status": "UNAVAILABLE", "retry_after": "1s"}},
	{"id": "c", "point": "x", "panic": {"message": "boo"}},
	{"id": "d", "point": "x", "hang": {}},
	{"id": "e", "point": "x", "drop": {}},
	{"id": "f", "point": "x", "truncate": {"after": 0}},
	{"id": "g", "point": "x", "corrupt": {"offset": 100, "length": 1024, "mode": "zero"}},
	{"id": "h", "point": "x", "every": 3, "skip": 1, "count": 7, "burn": {"cpu": "10ms"}},
	{"id": "i", "point": "x", "memory": {"bytes": 1048576, "leak": true}},
	{"id": "j", "point": "x", "goroutines": {"count": 10}},
	{"id": "k", "point": "x", "skew": {"by": "-5s"}}
]}`

// TestBadDocumentsAreRefusedWithEveryReason reads testdata/bad/*.json, whose messages are beside them.
func TestBadDocumentsAreRefusedWithEveryReason(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad/*.json")
	if len(files) < 5 {
		t.Fatalf("only %d files", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(data)
			if err == nil {
				t.Fatal("is taken")
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("says\n%swant\n%s", got, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everyEffect))
	files, _ := filepath.Glob("testdata/bad/*.json")
	for _, file := range files {
		data, _ := os.ReadFile(file)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			return
		}
		out, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%v\nfrom %s", err, out)
		}
		if twice, _ := again.JSON(); !bytes.Equal(out, twice) {
			t.Errorf("%s\nbecomes\n%s", out, twice)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("a*b*c", "axxbyyc")
	f.Add("*", "")
	f.Add("a*a", "a")
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 12 || len(s) > 40 {
			return
		}
		p := compile(text)
		if got, want := p.matches(s), globbed(text, s); got != want {
			t.Errorf("%q matches %q: %v, want %v", text, s, got, want)
		}
	})
}

// globbed says the same by trying everything.
func globbed(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		for i := range len(s) + 1 {
			if globbed(pattern[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && s[0] == pattern[0] && globbed(pattern[1:], s[1:])
}

func FuzzDamage(f *testing.F) {
	f.Add([]byte("hello, world"), int64(3), int64(2), int64(4), int64(8), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, start, offset, length, after int64, step uint8) {
		if offset < 0 || length < 0 || after < 0 || start < 0 || start > 1<<62 {
			return
		}
		whole := Damage{corruptions: []corruption{newCorruption(nil, &Corrupt{Offset: &offset, Length: length}, &source{})}, cuts: []cut{{after: after}}}
		want := []byte{}
		for i, b := range data {
			at := start + int64(i)
			if at >= after {
				break
			}
			if at >= offset && uint64(at-offset) < uint64(max(1, length)) {
				b = ^b
			}
			want = append(want, b)
		}
		before := bytes.Clone(data)
		if got := whole.Copy(data, start); !bytes.Equal(got, want) {
			t.Fatalf("at once: %q, want %q", got, want)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("Copy changed the caller's bytes")
		}
		var got []byte
		for i := 0; i < len(data); i += int(step) + 1 {
			got = append(got, whole.Copy(data[i:min(len(data), i+int(step)+1)], start+int64(i))...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("in pieces: %q, want %q", got, want)
		}
	})
}

func TestCorruptionWithoutOffsetFallsOnOneByteOfTheFirst(t *testing.T) {
	for range 1000 {
		d := Damage{corruptions: []corruption{newCorruption(nil, &Corrupt{Mode: Random}, &source{})}}
		b := make([]byte, 10)
		d.Apply(b, 0)
		if n := len(b) - bytes.Count(b, []byte{0}); n != 1 {
			t.Fatalf("%d bytes are damaged: %v", n, b)
		}
	}
}
