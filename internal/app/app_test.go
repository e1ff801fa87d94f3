package app

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMetricsDocument: docs/metrics.md is what the code declares.
func TestMetricsDocument(t *testing.T) {
	a, err := New(DefaultConfig(), Services(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat `/metrics` on the admin port shows, beside the metrics of the Go runtime (`go_*`) and of the process (`process_*`). " +
		"Made from the code:\n`go test ./internal/app -run TestMetricsDocument -update` writes it anew.\n\n")
	b.WriteString("| metric | type | labels | what it says |\n|---|---|---|---|\n")
	for _, d := range a.metrics.Descriptions() {
		labels := make([]string, len(d.Labels))
		for i, l := range d.Labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, strings.Join(labels, ", "), d.Help)
	}
	const file = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s differs from the code; run the test with -update and look at the difference", file)
	}
}

func TestConfigHasNoProgrammingErrors(t *testing.T) {
	cfg := DefaultConfig()
	if err := config.Lint(&cfg); err != nil {
		t.Error(err)
	}
}

func TestConfigFixtures(t *testing.T) {
	for file, wants := range map[string][]string{
		"testdata/good.yaml": nil,
		"testdata/bad.yaml": {
			`testdata/bad.yaml:2:3: http.listne: unknown key; did you mean "listen"?`,
			`testdata/bad.yaml:3:17: http.idle_timeout`,
			`testdata/bad.yaml:5:10: log.level`,
			`testdata/bad.yaml:7:10: inference.slots`,
			`testdata/bad.yaml:8:20: inference.in_flight_bytes`,
		},
		"testdata/cross.yaml": {`http.drain_timeout: 1m0s exceeds nine tenths of lifecycle.stop_timeout (18s)`},
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = LoadConfig(file, data, nil)
		if (err == nil) != (wants == nil) {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: lacks %q in\n%v", file, want, err)
			}
		}
	}
}

func TestDefaultConfigPrintsAndReadsBack(t *testing.T) {
	var printed bytes.Buffer
	if err := WriteDefaultConfig(&printed); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig("default", printed.Bytes(), []string{"DOUGONG_HTTP_LISTEN=127.0.0.1:1", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.HTTP.Listen = "127.0.0.1:1"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
