package config_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/config"
)

func TestFaultsAreTyped(t *testing.T) {
	cfg := defaultSample()
	err := config.Decode("f.yaml", []byte("rooms:\n- limit: -1\nsmal: 1\n"), &cfg)
	var faults config.Errors
	if !errors.As(err, &faults) || len(faults) != 2 {
		t.Fatalf("got %#v", err)
	}
	if f := *faults[0]; f.File != "f.yaml" || f.Line != 2 || f.Column != 3 || f.Path != "rooms[0].limit" || f.Msg != "must not be negative" {
		t.Errorf("got %#v", f)
	}
	if !errors.Is(err, errLimit) {
		t.Error("the error of Validate is not reachable")
	}
}

// A key that could not be decoded holds its default, about which the file says nothing.
func TestUndecodedKeyIsNotValidated(t *testing.T) {
	cfg := defaultSample()
	cfg.HTTP.Listen, cfg.HTTP.Token = "", "token"
	err := config.Decode("f", []byte("http: {listen: 5}\n"), &cfg)
	if want := "f:1:16: http.listen: want text, have 5; write it with quotes"; err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestListsAndMapsReplaceTheirDefault(t *testing.T) {
	cfg := defaultSample()
	cfg.Labels = map[string]string{"a": "b"}
	labels := cfg.Labels
	if err := config.Decode("", []byte("peers: [x]\nlabels: {c: d}"), &cfg); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(cfg.Peers, cfg.Labels, labels) != "[x] map[c:d] map[a:b]" {
		t.Errorf("got %v %v, default %v", cfg.Peers, cfg.Labels, labels)
	}
}

func TestSizes(t *testing.T) {
	type sized struct {
		N int64  `json:"n" unit:"bytes" doc:"."`
		U uint32 `json:"u" unit:"bytes" doc:"."`
	}
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512KiB": 512 << 10, "8MiB": 8 << 20, `"8 MiB"`: 8 << 20, "1GB": 1e9, "1kB": 1e3, "3B": 3, "-1": -1,
		"1_000": 1000, "8191PiB": 8191 << 50, "-8192PiB": math.MinInt64, "9223372036854775807": math.MaxInt64,
	} {
		var s sized
		if err := config.Decode("", []byte("n: "+text), &s); err != nil || s.N != want {
			t.Errorf("%s = %d, %v; want %d", text, s.N, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "8Mi", "8 M iB", "0x", "010KiB", "--1", "4GiB", "-1", "99999999999999999999", "1e3"} {
		var s sized
		if err := config.Decode("", []byte(fmt.Sprintf("u: %q", text)), &s); err == nil {
			t.Errorf("%q was read as %d", text, s.U)
		}
	}
}

func TestLongFileIsRefused(t *testing.T) {
	long := []byte("labels: {a: " + strings.Repeat("x", 1<<20) + "}")
	cfg := defaultSample()
	if err := config.Decode("f", long, &cfg); err == nil || !strings.Contains(err.Error(), "at most 1MiB") {
		t.Errorf("got %v", err)
	}
	if err := config.Decode("f", long, &cfg, config.MaxBytes(2<<20)); err != nil {
		t.Error(err)
	}
}

// The worst that 1 MiB can hold must cost seconds, not minutes.
func TestHostileFilesEndSoon(t *testing.T) {
	size := 1<<20 - 16
	if testing.Short() {
		size = 1 << 17
	}
	many := func(f func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < size-32; i++ {
			b.WriteString(f(i))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"unknown keys":  many(func(i int) string { return fmt.Sprintf("k%d: x\n", i) }),
		"one key":       many(func(int) string { return "a: x\n" }),
		"brackets":      strings.Repeat("[", size),
		"nested blocks": many(func(int) string { return "- " }),
		"aliases":       "a: &a [" + many(func(int) string { return "*a," }) + "x]\n",
		"bad rooms":     "rooms:\n" + many(func(int) string { return "- {limit: -1}\n" }),
		"bad tenants":   "tenants:\n" + many(func(i int) string { return fmt.Sprintf("  t%d: {limit: -1}\n", i) }),
		"comments":      many(func(int) string { return "# x\n\n" }) + "small: x\n",
		"quotes":        many(func(int) string { return "\"a\n" }),
		"documents":     many(func(int) string { return "---\n" }),
		"deep rules":    "rules: " + many(func(int) string { return "[{all: " }),
		"colons":        many(func(int) string { return "? : " }),
		"bad UTF-8":     many(func(int) string { return "\xff\n" }),
		"secrets":       "secrets:\n" + many(func(i int) string { return fmt.Sprintf("  s%d: 5\n", i) }),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			cfg := defaultSample()
			err := config.Decode("f", []byte(text), &cfg)
			if err == nil {
				t.Fatal("accepted")
			}
			if faults := err.(config.Errors); len(faults) > 501 {
				t.Errorf("%d faults", len(faults))
			}
			took := time.Since(start)
			t.Logf("%v for %d bytes", took, len(text))
			if took > 30*time.Second { // with the race detector, on a busy machine
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestSchemaFaultsAreProgrammingErrors(t *testing.T) {
	type endless []endless
	type inner struct {
		A int `json:"a"`
	}
	// Built here, for vet refuses it in the source.
	twice := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"a"`},
		{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"a"`},
	})
	for want, cfg := range map[string]any{
		"no json tag": &struct{ A int }{},
		"not in lower case": &struct {
			A int `json:"camelCase"`
		}{},
		"used twice": reflect.New(twice).Interface(),
		"embedded":   &struct{ inner }{},
		"is not supported": &struct {
			A chan int `json:"a"`
		}{},
		"keys of a map": &struct {
			A map[int]int `json:"a"`
		}{},
		"a pointer leads to": &struct {
			A *[]int `json:"a"`
		}{},
		"nested too deep": &struct {
			A endless `json:"a"`
		}{},
		`unit:"bytes" is for integers`: &struct {
			A string `json:"a" unit:"bytes"`
		}{},
		`null:"nan" on float`: &struct {
			A int `json:"a" null:"nan"`
		}{},
		`secret is "true" or absent`: &struct {
			A string `json:"a" secret:"yes"`
		}{},
		"want a pointer to a struct":    struct{}{},
		"want a pointer to a struct, h": (*struct{})(nil),
	} {
		err := config.Decode("", nil, cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: got %v, want %q", cfg, err, want)
		}
	}
}

func TestErrorThatSaysMoreThanItsPartsIsNotTakenApart(t *testing.T) {
	var cfg wrapping
	err := config.Decode("", []byte("a: 1"), &cfg)
	if err == nil || err.Error() != "1:1: a: both x and y" {
		t.Errorf("got %v", err)
	}
}

type wrapping struct {
	A int `json:"a" doc:"."`
}

func (wrapping) Validate() error {
	return fmt.Errorf("a: both %w and %w", errors.New("x"), errors.New("y"))
}

func BenchmarkDecodeNumbers(b *testing.B) {
	var text strings.Builder
	text.WriteString("weights:\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "  - %v\n", float64(i)/7)
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		cfg := defaultSample()
		if err := config.Decode("", data, &cfg); err != nil {
			b.Fatal(err)
		}
	}
}
