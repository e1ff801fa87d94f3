package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/config"
)

// randomValue fills a value of any supported type; secrets stay empty, for they are not
// printed, and NaN stands only where the tag allows it.
func randomValue(r *rand.Rand, v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		var b [16]byte
		b[0], b[15] = byte(r.Uint32()), byte(r.Uint32())
		*x = netip.AddrFrom16(b)
		return
	case *time.Time:
		*x = time.Unix(r.Int64N(1e10), 0).UTC()
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> (64 - v.Type().Bits()) >> r.IntN(v.Type().Bits()))
		if r.IntN(3) == 0 {
			v.SetInt(v.Int() &^ 1023)
		}
		if v.Type().Name() == "Level" {
			v.SetInt(v.Int() % 1000)
		}
	case reflect.Uint16:
		v.SetUint(uint64(r.Uint32N(1 << 16)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{0, math.Inf(1), math.Inf(-1), r.NormFloat64(), float64(r.IntN(100)), r.ExpFloat64() * 1e30, 1e-30}[r.IntN(7)])
		if v.Kind() == reflect.Float32 {
			v.SetFloat(float64(float32(v.Float())))
		}
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			randomValue(r, v.Elem(), depth)
		}
	case reflect.Slice:
		if n := r.IntN(4); n > 0 && depth < 6 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				randomValue(r, v.Index(i), depth+1)
			}
		}
	case reflect.Map:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				e := reflect.New(v.Type().Elem()).Elem()
				randomValue(r, e, depth+1)
				v.SetMapIndex(reflect.ValueOf(randomText(r)), e)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag; tag.Get("json") != "-" && tag.Get("secret") == "" {
				randomValue(r, v.Field(i), depth+1)
			}
		}
	}
}

func randomText(r *rand.Rand) string {
	words := []string{"", "a", "true", "Null", "~", "1.5", "0x1", "-", "- a", "a: b", "a:", "#x", "a #b", "[a", "{b}", ",", "*a", "&b", "!c", "|", ">", "%d", "@e", "`f", "'", `"`, `\`, "<<", "=", "2020-01-01",
		" lead", "trail ", "tab\t", "line\nbreak\n", "\r", "\x00", "\u0085", "\u2028", "\ufeff", "\ufffe", "\U0001f600", "héllo", "y", "no", "???", "---", "...", "12e3", ".inf", "nats://a:1", "x\u0300", strings.Repeat("long ", 40)}
	s := words[r.IntN(len(words))]
	if r.IntN(3) == 0 {
		s += words[r.IntN(len(words))]
	}
	return s
}

// sampleFields has the fields of sample and not its Validate.
type sampleFields sample

func TestPrintedStructDecodesToAnEqualStruct(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 500 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		var in, out sampleFields
		randomValue(r, reflect.ValueOf(&in).Elem(), 0)
		var text bytes.Buffer
		if err := config.Default(&text, &in); err != nil {
			t.Fatalf("seed %d, %d: %v", seed, i, err)
		}
		// The sections' own rules do not hold for random values.
		err := config.Decode("", text.Bytes(), &out)
		var faults config.Errors
		if errors.As(err, &faults) {
			for _, f := range faults {
				if f.Unwrap() == nil {
					t.Fatalf("seed %d, %d: %v\n%s", seed, i, f, text.String())
				}
			}
		}
		if !reflect.DeepEqual(in, out) {
			t.Fatalf("seed %d, %d: differs:\n%+v\n%+v\n%s", seed, i, in, out, text.String())
		}
	}
}

func TestNaNIsPrintedWhereItMayStand(t *testing.T) {
	type cells struct {
		A []float64 `json:"a" null:"nan" doc:"."`
		B float64   `json:"b" doc:"."`
	}
	var text bytes.Buffer
	if err := config.Default(&text, cells{A: []float64{1, math.NaN()}}); err != nil || !strings.Contains(text.String(), "a: [1, null]\n") {
		t.Errorf("got %s, %v", text.String(), err)
	}
	if err := config.Default(&text, cells{B: math.NaN()}); err == nil {
		t.Error("NaN was printed where it is refused")
	}
	if err := config.Default(&text, struct {
		A string `json:"a" doc:"."`
	}{"\xff"}); err == nil {
		t.Error("text that is not UTF-8 was printed")
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	type secretive struct {
		Key     string            `json:"key" secret:"true" doc:"."`
		Keys    []string          `json:"keys" secret:"true" doc:"."`
		ByName  map[string]string `json:"by_name" secret:"true" doc:"."`
		Pointer *string           `json:"pointer" secret:"true" doc:"."`
		Section struct {
			Key  string     `json:"key" doc:"."`
			Pin  int        `json:"pin" doc:"."`
			Addr netip.Addr `json:"addr" doc:"."`
		} `json:"section" secret:"true" doc:"."`
	}
	const secret = "hunter2"
	s := secret
	cfg := secretive{Key: secret, Keys: []string{secret}, ByName: map[string]string{secret: secret}, Pointer: &s}
	cfg.Section.Key, cfg.Section.Pin, cfg.Section.Addr = secret, 77777, netip.MustParseAddr("7.7.7.7")
	var text bytes.Buffer
	if err := config.Default(&text, &cfg); err != nil {
		t.Fatal(err)
	}
	paths, err := config.Paths(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	var faults []string
	for _, bad := range []string{
		"key: {a: hunter2}", "key: [hunter2]", "key: *hunter2", "key: !hunter2 x", "key: &hunter2 x", "keys: hunter2", "keys: [[hunter2]]",
		"by_name: {hunter2: [hunter2], hunter2: hunter2}", "pointer: {hunter2: 1}", "section: {pin: hunter2, addr: hunter2}",
		"section: hunter2", "section: {pin: hunter2hunter2, key: [hunter2]}", "by_name: hunter2", "key: 'hunter2", "keys: [hunter2", "section: {pin: 99999999999999999999}", "section: {pin: 7x7}", "section: {key: 7x7x, pin: 7x7}",
	} {
		var cfg secretive
		err := config.Decode("f", []byte(bad), &cfg)
		if err == nil {
			t.Errorf("%s was accepted", bad)
			continue
		}
		faults = append(faults, err.Error())
	}
	for _, key := range []string{"KEY", "KEYS", "BY_NAME", "POINTER", "SECTION_PIN", "SECTION_ADDR"} {
		for _, bad := range []string{"[hunter2", "{hunter2", "[*hunter2]", "{hunter2: {}}", "hunter2"} {
			var cfg secretive
			if err := config.Load("", nil, []string{"DOUGONG_" + key + "=" + bad}, &cfg); err != nil {
				faults = append(faults, err.Error())
			}
		}
	}
	all := text.String() + fmt.Sprint(paths) + strings.Join(faults, "\n")
	for _, s := range []string{secret, "7.7.7.7", "77777", "99999", "7x7"} {
		if i := strings.Index(all, s); i >= 0 {
			t.Errorf("%q was printed: …%s…", s, all[max(0, i-80):min(len(all), i+40)])
		}
	}
}

func TestPathsDescribeEachKey(t *testing.T) {
	cfg := defaultSample()
	cfg.HTTP.Token = "hunter2-secret"
	paths, err := config.Paths(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "%s | %s | %s | %s | %s | %v\n", p.Path, p.Env, p.Type, p.Unit, p.Default, p.Secret)
	}
	golden(t, "testdata/paths.golden", b.String())
}

func TestLint(t *testing.T) {
	good := defaultSample()
	if err := config.Lint(&good); err != nil {
		t.Error(err)
	}
	for want, cfg := range map[string]any{
		"no doc tag": struct {
			A int `json:"a"`
		}{},
		"a secret with a default": struct {
			A string `json:"a" doc:"." secret:"true"`
		}{"x"},
		"no json tag": struct{ A int }{},
		"NaN": struct {
			A float64 `json:"a" doc:"."`
		}{math.NaN()},
		"not read back": struct {
			A forgetful `json:"a" doc:"."`
		}{"x"},
	} {
		if err := config.Lint(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: got %v, want %q", cfg, err, want)
		}
	}
}

// forgetful does not read what it writes.
type forgetful string

func (f forgetful) MarshalText() ([]byte, error)  { return []byte(f), nil }
func (f *forgetful) UnmarshalText(b []byte) error { *f = forgetful(b) + "!"; return nil }
