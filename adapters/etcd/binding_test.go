package etcd

import (
	"errors"
	"strings"
	"testing"
)

func text(data []byte) (string, error) { return string(data), nil }

func newSource(t *testing.T, opts ...Option) *Source {
	t.Helper()
	s, err := New(DefaultConfig(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBindingsClaimTheirOwnKeysOnly(t *testing.T) {
	s := newSource(t)
	key := func(key string) error { return Watch(s, key, text, func(string) error { return nil }) }
	each := func(prefix string) error {
		return WatchEach(s, prefix, text, func(string, string) error { return nil })
	}
	for _, step := range []struct {
		err  error
		want string // "": none
	}{
		{key("a"), ""},
		{key("a"), "bound already"},
		{each("a/"), ""},
		{key("a/b"), "bound already"},
		{each("a/b/"), "bound already"},
		{key("b/c"), ""},
		{each("b/"), "bound already"},
		{each("ab/"), ""},
		{key(""), "relative"},
		{key("/a"), "relative"},
		{key("x/"), "WatchEach a prefix"},
		{each("x"), "WatchEach a prefix"},
		{each(""), "relative"},
		{key(strings.Repeat("x", 600)), "relative"},
	} {
		if step.want == "" && step.err != nil || step.want != "" && (step.err == nil || !strings.Contains(step.err.Error(), step.want)) {
			t.Errorf("got %v, want %q", step.err, step.want)
		}
	}
	for key, want := range map[string]string{"/dougong/a": "a", "/dougong/a/x/y": "x/y", "/dougong/b/c": "b/c"} {
		if b, name := s.book.find(key); b == nil || name != want {
			t.Errorf("%s: %v, %q, want %q", key, b, name, want)
		}
	}
	for _, key := range []string{"/dougong/", "/dougong/c", "/dougong/aa", "/dougong/ab/", "/dougong/b", "a"} {
		if b, _ := s.book.find(key); b != nil {
			t.Errorf("%s is claimed by %s", key, b.at)
		}
	}
	s.begun = true
	if err := key("late"); err == nil || !strings.Contains(err.Error(), "before") {
		t.Errorf("after Run: %v", err)
	}
}

func TestBindingMayKeepAndChangeItsBytes(t *testing.T) {
	s := newSource(t)
	err := Watch(s, "a", func(data []byte) ([]byte, error) { return data, nil }, func(data []byte) error {
		data[0] = 'X'
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.book.put(pair{"/dougong/a", []byte("value"), 3})
	if got := s.book.snapshot().Values[0].Value; string(got) != "value" {
		t.Errorf("the cache holds %q", got)
	}
}

func TestPanicOfABindingIsARefusal(t *testing.T) {
	s := newSource(t)
	err := Watch(s, "a", text, func(v string) error {
		if v == "bad" {
			panic(errors.New("boom"))
		}
		return nil
	}, OnDelete(func(string) error { panic("later") }))
	if err != nil {
		t.Fatal(err)
	}
	s.book.put(pair{"/dougong/a", []byte("good"), 3})
	s.book.put(pair{"/dougong/a", []byte("bad"), 4})
	if k := s.Status().Keys[0]; k.Revision != 3 || k.Refused != 4 || k.Error != "panic: boom" {
		t.Errorf("status %+v", k)
	}
	s.book.remove("/dougong/a", 5)
	if k := s.Status().Keys[0]; k.Revision != 3 || k.Absence != Deleted || k.Error != "panic: later" {
		t.Errorf("status %+v", k)
	}
}
