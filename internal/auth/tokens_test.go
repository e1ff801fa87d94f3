package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreatedTokenIsFoundAndNeverWrittenInPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	plain, e, err := Create("deploy-bot", "acme", Release, Read, Release)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain, Prefix) || len(plain) != len(Prefix)+43 {
		t.Errorf("plaintext has %d bytes and begins %q", len(plain), plain[:3])
	}
	if err := AppendTo(path, e); err != nil {
		t.Fatal(err)
	}
	other, e2, err := Create("second", "", Fault)
	if err != nil {
		t.Fatal(err)
	}
	if err := AppendTo(path, e2); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), plain[len(Prefix):]) {
		t.Error("the file contains the plaintext")
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", st.Mode().Perm())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".tokens*")); len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
	tokens, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.Len() != 2 {
		t.Errorf("%d tokens, want 2", tokens.Len())
	}
	who, ok := tokens.Lookup(plain)
	if !ok || who.Name != "deploy-bot" || who.Tenant != "acme" || !who.Has(Read) || !who.Has(Release) || who.Has(Write) {
		t.Errorf("lookup of the first: %+v %v", who, ok)
	}
	if who, ok := tokens.Lookup(other); !ok || who.Name != "second" {
		t.Errorf("lookup of the second: %+v %v", who, ok)
	}
	for _, wrong := range []string{"", "dg_", plain[:len(plain)-1], plain + "x", strings.Repeat("a", 10_000)} {
		if _, ok := tokens.Lookup(wrong); ok {
			t.Errorf("%d bytes of nonsense were accepted", len(wrong))
		}
	}
}

func TestCreateRefusesWhatTheFileWouldRefuse(t *testing.T) {
	for name, make := range map[string]func() error{
		"no name":       func() error { _, _, err := Create("", "t", Read); return err },
		"long name":     func() error { _, _, err := Create(strings.Repeat("n", 129), "t", Read); return err },
		"control bytes": func() error { _, _, err := Create("a\nb", "t", Read); return err },
		"no role":       func() error { _, _, err := Create("a", "t"); return err },
		"unknown role":  func() error { _, _, err := Create("a", "t", "root"); return err },
	} {
		if make() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

const goodHash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestParseIsStrictAndReportsEveryFault(t *testing.T) {
	good := `{"version":1,"tokens":[{"name":"a","sha256":"` + goodHash + `","roles":["read"],"tenant":"","created":"2026-11-21T00:00:00Z"}]}`
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		doc  string
		want []string
	}{
		"empty":         {``, []string{"EOF"}},
		"unknown field": {strings.Replace(good, `"tenant"`, `"tennant"`, 1), []string{`unknown field "tennant"`}},
		"future":        {strings.Replace(good, `"version":1`, `"version":2`, 1), []string{"version 2", "reads version 1"}},
		"no version":    {`{"tokens":[]}`, []string{"version 0"}},
		"trailing":      {good + good, []string{"follows"}},
		"many faults": {`{"version":1,"tokens":[{"name":"","sha256":"AB","roles":["root"],"tenant":"","created":"2026-11-21T00:00:00Z"}]}`,
			[]string{"tokens[0].name", "tokens[0].sha256", `unknown role "root"`}},
		"other case":    {strings.Replace(good, `"roles":["read"]`, `"roles":["read"],"ROLES":["release"]`, 1), []string{`unknown field "ROLES"`}},
		"folded":        {strings.Replace(good, `"sha256"`, `"\u017fha256"`, 1), []string{`unknown field "ſha256"`}},
		"field twice":   {strings.Replace(good, `"roles":["read"]`, `"roles":["read"],"roles":["release"]`, 1), []string{`field "roles" is there twice`}},
		"version twice": {strings.Replace(good, `"version":1`, `"version":2,"version":1`, 1), []string{`field "version" is there twice`}},
		"hash of nothing": {strings.Replace(good, goodHash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 1),
			[]string{"tokens[0].sha256: is the hash of nothing"}},
		"no roles":  {strings.Replace(good, `["read"]`, `[]`, 1), []string{"tokens[0].roles"}},
		"duplicate": {strings.Replace(good, `]}`, `],"x":0}`, 1), []string{"unknown"}},
		"twice": {`{"version":1,"tokens":[` + strings.Repeat(`,{"name":"a","sha256":"`+goodHash+`","roles":["read"],"tenant":"","created":"2026-11-21T00:00:00Z"}`, 2)[1:] + `]}`,
			[]string{`"a" is there twice`, "same token is there twice"}},
	} {
		_, err := Parse([]byte(c.doc))
		if !errors.Is(err, ErrTokensFile) {
			t.Errorf("%s: error %v, want ErrTokensFile", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", name, err, want)
			}
		}
	}
}

func TestAppendRefusesOpenFileDuplicateNameAndFaultyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	_, e, _ := Create("a", "", Read)
	if err := AppendTo(path, e); err != nil {
		t.Fatal(err)
	}
	_, again, _ := Create("a", "", Read)
	if err := AppendTo(path, again); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a second %q: %v", "a", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, b, _ := Create("b", "", Read)
	if err := AppendTo(path, b); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file readable by others: %v", err)
	}
	if open, err := TooOpen(path); !open || err != nil {
		t.Errorf("TooOpen = %v, %v", open, err)
	}
	os.Chmod(path, 0o600)
	os.WriteFile(path, []byte("{"), 0o600)
	if err := AppendTo(path, b); !errors.Is(err, ErrTokensFile) {
		t.Errorf("a faulty file: %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "{" {
		t.Error("a refused append changed the file")
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestLookupTakesOnlyWhatLooksLikeAToken(t *testing.T) {
	tokens := &Tokens{byHash: map[[32]byte]*Identity{sha256.Sum256(nil): {Name: "nobody"}, sha256.Sum256([]byte("test")): {Name: "short"}}}
	for _, s := range []string{"", "test"} {
		if who, ok := tokens.Lookup(s); ok || who != nil {
			t.Errorf("%q is %+v", s, who)
		}
	}
}

func TestIdentityTravelsInContext(t *testing.T) {
	if IdentityFrom(context.Background()) != nil {
		t.Error("somebody in an empty context")
	}
	if IdentityFrom(context.Background()).Has(Read) {
		t.Error("nobody holds a role")
	}
	ctx := WithIdentity(context.Background(), &Identity{Name: "a"})
	if who := IdentityFrom(ctx); who == nil || who.Name != "a" {
		t.Errorf("identity %+v", who)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"tokens":[{"name":"a","sha256":"` + goodHash + `","roles":["read"],"tenant":"","created":"2026-11-21T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrTokensFile) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		for _, who := range tokens.byHash {
			if who.Name == "" || len(who.Roles) == 0 {
				t.Fatalf("accepted %+v", who)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	_, e, _ := Create("a", "", Read)
	sum, _ := e.hash()
	tokens := &Tokens{byHash: map[[32]byte]*Identity{sum: {Name: "a"}}}
	b.ReportAllocs()
	for b.Loop() {
		tokens.Lookup("dg_0123456789012345678901234567890123456789012")
	}
}
