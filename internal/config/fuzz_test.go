package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/config"
)

// Whatever the file holds: no panic, no hang, faults within the file, and what was accepted prints to
// a file that is accepted and prints the same.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"bad/*.yaml", "good/*.yaml", "good/*.golden"} {
		files, _ := filepath.Glob(filepath.Join("testdata", pattern))
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "DOUGONG_ROOMS=[{limit: 1}]")
		}
	}
	for _, env := range []string{"DOUGONG_LABELS={a: b}", "DOUGONG_PEERS=a,b", "DOUGONG_TABLE=[[1]]", "DOUGONG_HTTP_MAX_BODY=1GB"} {
		f.Add([]byte("small: 1"), env)
	}
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		if len(data) > 1<<16 {
			return // TestHostileFilesEndSoon has the long ones
		}
		start := time.Now()
		defer func() {
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		}()
		cfg := defaultSample()
		if err := config.Load("f", data, []string{env}, &cfg); err != nil {
			lines := bytes.Count(data, []byte("\n")) + 1
			// YAML ends lines at these as well.
			for _, b := range []string{"\r", "\u0085", "\u2028", "\u2029"} {
				lines += bytes.Count(data, []byte(b))
			}
			for _, e := range err.(config.Errors) {
				if e.Line < 0 || e.Line > lines || (e.Line > 0) != (e.Column > 0) || e.Msg == "" || strings.Contains(e.Error(), "\n") {
					t.Fatalf("%d lines: %#v", lines, e)
				}
			}
			return
		}
		if cfg.HTTP.Token != "" || len(cfg.Secrets) > 0 {
			cfg.HTTP.Token, cfg.Secrets = "", nil // not printed
		}
		var first, second bytes.Buffer
		if err := config.Default(&first, &cfg); err != nil {
			if strings.Contains(err.Error(), "too long") || strings.Contains(err.Error(), "year outside") {
				return
			}
			t.Fatal(err)
		}
		again := defaultSample()
		if err := config.Decode("again", first.Bytes(), &again, config.MaxBytes(1<<26)); err != nil {
			t.Fatalf("%v\n%s", err, first.String())
		}
		if err := config.Default(&second, &again); err != nil {
			t.Fatal(err)
		}
		if first.String() != second.String() {
			t.Fatalf("first\n%s\nsecond\n%s", first.String(), second.String())
		}
	})
}
