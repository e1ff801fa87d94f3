package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/config"
)

func TestEnvironmentOverridesTheFile(t *testing.T) {
	cfg := defaultSample()
	err := config.Load("f.yaml", []byte("http: {listen: 'file:1', debug: true}\nsmall: 3\n"), []string{
		"PATH=/bin",
		"DOUGONG_HTTP_LISTEN=8080",
		"DOUGONG_HTTP_READ_HEADER_TIMEOUT= 250ms",
		"DOUGONG_HTTP_MAX_BODY=1GB",
		"DOUGONG_HTTP_TOKEN=a=b, c",
		"DOUGONG_TLS_CERT_FILE=a.pem",
		"DOUGONG_TLS_KEY_FILE=b.pem",
		"DOUGONG_LOG=debug",
		"DOUGONG_PEERS=nats://a:1, nats://b:2",
		"DOUGONG_WEIGHTS=1,2.5,.nan",
		"DOUGONG_TABLE=[[1, 2], [3]]",
		"DOUGONG_LABELS={a: b}",
		"DOUGONG_ROOMS=[{name: x, limit: 3}]",
		"DOUGONG_OPTIONAL=7",
		"DOUGONG_CELLS=",
		"DOUGONG_COUNT=1",
		"DOUGONG_COUNT=2", // the last wins, as for os/exec
	}, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Weights[2] == cfg.Weights[2] {
		t.Errorf("weights = %v, want NaN last", cfg.Weights)
	}
	seven := 7
	for _, c := range []struct{ got, want any }{
		{cfg.HTTP, httpSection{"8080", 250 * time.Millisecond, 1e9, "a=b, c", true}},
		{cfg.TLS, &tlsSection{"a.pem", "b.pem"}},
		{cfg.Log.String(), "DEBUG"},
		{cfg.Peers, []string{"nats://a:1", "nats://b:2"}},
		{cfg.Table, [][]float64{{1, 2}, {3}}},
		{cfg.Labels, map[string]string{"a": "b"}},
		{cfg.Rooms, []room{{"x", 3}}},
		{cfg.Optional, &seven},
		{cfg.Cells, []*float64(nil)},
		{cfg.Small, int8(3)},
		{cfg.Count, uint16(2)},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("got %#v, want %#v", c.got, c.want)
		}
	}
}

func TestFaultsOfTheEnvironmentNameTheVariable(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		want    string
	}{
		"wrong type":          {[]string{"DOUGONG_SMALL=x"}, `DOUGONG_SMALL: small: want a whole number, have "x"`},
		"no unit":             {[]string{"DOUGONG_HTTP_READ_HEADER_TIMEOUT=5"}, `DOUGONG_HTTP_READ_HEADER_TIMEOUT: http.read_header_timeout: "5" needs a unit: ms, s, m or h, such as 30s`},
		"misspelt":            {[]string{"DOUGONG_HTTP_LISTNE=x"}, `DOUGONG_HTTP_LISTNE: unknown variable; did you mean "DOUGONG_HTTP_LISTEN"?`},
		"a section":           {[]string{"DOUGONG_HTTP=x"}, `DOUGONG_HTTP: unknown variable`},
		"nothing like it":     {[]string{"DOUGONG_XYZZY_PLUGH=x"}, `DOUGONG_XYZZY_PLUGH: unknown variable`},
		"validation":          {[]string{"DOUGONG_HTTP_LISTEN="}, `DOUGONG_HTTP_LISTEN: http.listen: must not be empty`},
		"validation below":    {[]string{"DOUGONG_ROOMS=[{limit: -1}]"}, `DOUGONG_ROOMS: rooms[0].limit: must not be negative`},
		"map without braces":  {[]string{"DOUGONG_LABELS=a=b"}, `DOUGONG_LABELS: labels: want keys and values in braces, such as {a: 1, b: 2}`},
		"list without braces": {[]string{"DOUGONG_ROOMS=a"}, `DOUGONG_ROOMS: rooms: want a list in brackets, such as [{a: 1}, {a: 2}]`},
		"not YAML":            {[]string{"DOUGONG_LABELS={a"}, `DOUGONG_LABELS: labels: not YAML: did not find expected ',' or '}'`},
		"alias":               {[]string{"DOUGONG_ROOMS=[&a {name: x}, *a]"}, "DOUGONG_ROOMS: rooms[0]: anchors and aliases (&name, *name) are refused; write the value out, or quote it if it is text\nDOUGONG_ROOMS: rooms[1]: anchors and aliases (&name, *name) are refused; write the value out, or quote it if it is text"},
		"not UTF-8":           {[]string{"DOUGONG_HTTP_LISTEN=\xff"}, `DOUGONG_HTTP_LISTEN: http.listen: not UTF-8`},
		"secret":              {[]string{"DOUGONG_SECRETS=hunter2-secret"}, `DOUGONG_SECRETS: secrets: want keys and values in braces, such as {a: 1, b: 2}`},
		"all at once":         {[]string{"DOUGONG_SMALL=x", "DOUGONG_COUNT=y"}, "DOUGONG_COUNT: count: want a whole number, have \"y\"\nDOUGONG_SMALL: small: want a whole number, have \"x\""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := defaultSample()
			cfg.HTTP.Token = "tok"
			err := config.Load("", nil, c.environ, &cfg)
			if err == nil || err.Error() != c.want {
				t.Errorf("got:  %v\nwant: %s", err, c.want)
			}
		})
	}
}

func TestVariableWinsOverTheLineOfTheFile(t *testing.T) {
	cfg := defaultSample()
	cfg.HTTP.Token = "token"
	err := config.Load("f.yaml", []byte("http: {listen: a, read_header_timeout: 0s}\nbogus: 1\n"), []string{"DOUGONG_HTTP_LISTEN="}, &cfg)
	want := "f.yaml:1:19: http.read_header_timeout: must be positive\nf.yaml:2:1: bogus: unknown key\nDOUGONG_HTTP_LISTEN: http.listen: must not be empty"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// A Service named dougong in the same namespace must not stop every pod from starting.
func TestKubernetesServiceVariablesArePassedOver(t *testing.T) {
	cfg := defaultSample()
	links := []string{
		"DOUGONG_SERVICE_HOST=10.0.0.1", "DOUGONG_SERVICE_PORT=8080", "DOUGONG_SERVICE_PORT_HTTP=8080",
		"DOUGONG_PORT=tcp://10.0.0.1:8080", "DOUGONG_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"DOUGONG_PORT_8080_TCP_PROTO=tcp", "DOUGONG_PORT_8080_TCP_PORT=8080", "DOUGONG_PORT_8080_TCP_ADDR=10.0.0.1",
		"DOUGONG_REDIS_SERVICE_HOST=10.0.0.2", "DOUGONG_REDIS_SERVICE_PORT=1", "DOUGONG_REDIS_PORT=tcp://10.0.0.2:1",
	}
	if err := config.Load("", nil, links, &cfg); err != nil {
		t.Error(err)
	}
	if err := config.Load("", nil, []string{"DOUGONG_HTTP_PORT=1"}, &cfg); err == nil {
		t.Error("a variable that only ends in _PORT was passed over")
	}
}

func TestKnownEnvIsLeftAlone(t *testing.T) {
	cfg := defaultSample()
	if err := config.Load("", nil, []string{"DOUGONG_CONFIG=x"}, &cfg, config.KnownEnv("DOUGONG_CONFIG")); err != nil {
		t.Error(err)
	}
}

func TestDefaultBehindAPointerIsNotChanged(t *testing.T) {
	shared := &tlsSection{"a", "b"}
	cfg := defaultSample()
	cfg.TLS = shared
	if err := config.Load("", []byte("tls: {key_file: c}"), []string{"DOUGONG_TLS_CERT_FILE=d"}, &cfg); err != nil {
		t.Fatal(err)
	}
	if *shared != (tlsSection{"a", "b"}) || *cfg.TLS != (tlsSection{"d", "c"}) {
		t.Errorf("shared %v, decoded %v", *shared, *cfg.TLS)
	}
}

func TestCollidingVariablesAreAProgrammingError(t *testing.T) {
	var cfg struct {
		A struct {
			BC string `json:"b_c" doc:"."`
		} `json:"a" doc:"."`
		AB struct {
			C string `json:"c" doc:"."`
		} `json:"a_b" doc:"."`
	}
	for _, err := range []error{config.Lint(&cfg), config.Load("", nil, nil, &cfg)} {
		if err == nil || !strings.Contains(err.Error(), "a.b_c and a_b.c share the variable DOUGONG_A_B_C") {
			t.Errorf("got %v", err)
		}
		var faults config.Errors
		if errors.As(err, &faults) {
			t.Error("a programming error was reported as a fault of the file")
		}
	}
}
