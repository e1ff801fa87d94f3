package etcd

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryFaultOfAConfigIsReportedAtOnce(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	with := func(change func(*Config)) Config {
		c := DefaultConfig()
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		config Config
		want   []string // fields
	}{
		"zero value": {Config{}, []string{"endpoints", "prefix", "dial_timeout", "request_timeout", "check_interval", "retry_min", "retry_max", "max_value_bytes", "max_keys"}},
		"endpoints": {with(func(c *Config) {
			c.Endpoints = []string{"127.0.0.1:2379", "http://a", "http://a:1/x", "unix://a:1", "http://u:p@a:1"}
		}), []string{"endpoints", "endpoints", "endpoints", "endpoints", "endpoints"}},
		"mixed":                   {with(func(c *Config) { c.Endpoints = []string{"http://a:1", "https://b:1"} }), []string{"endpoints"}},
		"password in the clear":   {with(func(c *Config) { c.Endpoints, c.Username, c.PasswordFile = []string{"http://a:1"}, "u", "f" }), []string{"username"}},
		"password on loopback":    {with(func(c *Config) { c.Endpoints, c.Username, c.PasswordFile = []string{"http://[::1]:1"}, "u", "f" }), nil},
		"password over TLS":       {with(func(c *Config) { c.Endpoints, c.Username, c.PasswordFile = []string{"https://a:1"}, "u", "f" }), nil},
		"no password":             {with(func(c *Config) { c.Username = "u" }), []string{"username"}},
		"half a certificate":      {with(func(c *Config) { c.Endpoints, c.TLS.CertFile = []string{"https://a:1"}, "f" }), []string{"tls.cert_file"}},
		"TLS without https":       {with(func(c *Config) { c.TLS.CAFile = "f" }), []string{"tls"}},
		"waits the wrong way":     {with(func(c *Config) { c.RetryMin, c.RetryMax = time.Second, time.Millisecond }), []string{"retry_max"}},
		"prefix without a slash":  {with(func(c *Config) { c.Prefix = "/dougong" }), []string{"prefix"}},
		"more than etcd can give": {with(func(c *Config) { c.MaxKeys, c.MaxValueBytes = 1<<20, 1<<30 }), []string{"max_value_bytes", "max_keys"}},
	} {
		var got []string
		if err := c.config.Validate(); err != nil {
			for line := range strings.Lines(err.Error()) {
				field, _, _ := strings.Cut(line, ": ")
				got = append(got, field)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: faults in %v, want %v", name, got, c.want)
		}
	}
}

func TestBackoffDoublesWithinItsBounds(t *testing.T) {
	const first, last = 100 * time.Millisecond, 5 * time.Second
	for n, most := range []time.Duration{first, 2 * first, 4 * first, 8 * first, 16 * first, 32 * first, last, last} {
		if got := backoff(n, first, last, 0); got != first/2 {
			t.Errorf("attempt %d: at least %v, want %v", n, got, first/2)
		}
		if got := backoff(n, first, last, 0.999999); got > most || got < most*99/100 {
			t.Errorf("attempt %d: at most %v, want %v", n, got, most)
		}
	}
	if got := backoff(1<<40, first, time.Hour, 0.999999); got > time.Hour || got < 59*time.Minute {
		t.Errorf("after many attempts %v", got)
	}
}
