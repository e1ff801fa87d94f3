package etcd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// Config says where etcd is and bounds what a [Source] takes from it.
type Config struct {
	Endpoints []string `json:"endpoints" doc:"URLs of the members, all http or all https, such as http://127.0.0.1:2379."`
	Prefix    string   `json:"prefix" doc:"What the names of all keys begin with; ends with a slash. Keep nothing but configuration below it."`
	Cache     string   `json:"cache" doc:"File that keeps what is in force for the next start, one for each process; empty: none."`

	Username     string    `json:"username" doc:"User name for etcd's own authentication; empty: none."`
	PasswordFile string    `json:"password_file" doc:"File with the password on its first line; read again for each connection."`
	TLS          TLSConfig `json:"tls" doc:"Certificates for https endpoints; read again for each connection."`

	DialTimeout    time.Duration `json:"dial_timeout" doc:"How long a connection may take."`
	RequestTimeout time.Duration `json:"request_timeout" doc:"How long etcd may take to answer."`
	CheckInterval  time.Duration `json:"check_interval" doc:"How often to ask whether etcd still answers and the stream of changes still lives."`
	RetryMin       time.Duration `json:"retry_min" doc:"First bound of the random wait before another connection; it doubles up to retry_max."`
	RetryMax       time.Duration `json:"retry_max" doc:"Last bound of that wait: how late a process may notice that etcd is back."`

	MaxValueBytes int64 `json:"max_value_bytes" unit:"bytes" doc:"A longer value is refused."`
	MaxKeys       int   `json:"max_keys" doc:"Keys beyond this number are refused."`
}

// TLSConfig names the files for https.
type TLSConfig struct {
	CAFile     string `json:"ca_file" doc:"PEM file with the authorities that sign etcd's certificates; empty: those of the system."`
	CertFile   string `json:"cert_file" doc:"PEM file with the client's certificate chain; empty: none."`
	KeyFile    string `json:"key_file" doc:"PEM file with its private key."`
	ServerName string `json:"server_name" doc:"Name that etcd's certificate must have; empty: the host of the endpoint."`
}

// DefaultConfig returns a member on this machine, the prefix /dougong/, 5 s to connect, 2 s for an answer, a check
// every 5 s, waits from 100 ms to 5 s, and at most 1,000 keys of 64 KiB.
func DefaultConfig() Config {
	return Config{
		Endpoints:      []string{"http://127.0.0.1:2379"},
		Prefix:         "/dougong/",
		DialTimeout:    5 * time.Second,
		RequestTimeout: 2 * time.Second,
		CheckInterval:  5 * time.Second,
		RetryMin:       100 * time.Millisecond,
		RetryMax:       5 * time.Second,
		MaxValueBytes:  64 << 10,
		MaxKeys:        1000,
	}
}

const (
	maxKeyBytes  = 1024     // longer names are refused
	mostKeys     = 1 << 16  // bound of Config.MaxKeys
	mostBytes    = 1 << 20  // bound of Config.MaxValueBytes; etcd itself takes 1.5 MiB unless told otherwise
	maxMessage   = 32 << 20 // of one answer of etcd
	keysInAnswer = 16       // so that the largest values that etcd takes by default fit into maxMessage
)

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Endpoints) == 0 {
		fault("endpoints: name at least one, such as http://127.0.0.1:2379")
	}
	schemes := make(map[string]bool)
	private := true // nobody else can listen
	for i, endpoint := range c.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" || u.Hostname() == "" || endpoint != u.Scheme+"://"+u.Host {
			fault("endpoints: number %d must be http://host:port or https://host:port", i+1)
			continue
		}
		schemes[u.Scheme] = true
		private = private && (u.Scheme == "https" || u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
	}
	if len(schemes) > 1 {
		fault("endpoints: must be all http or all https")
	}
	if !strings.HasSuffix(c.Prefix, "/") || len(c.Prefix) > maxKeyBytes/2 {
		fault("prefix: must end with a slash and have at most %d bytes, is %q", maxKeyBytes/2, shorten(c.Prefix))
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		fault("username: needs password_file, and the reverse")
	}
	if c.Username != "" && !private {
		fault("username: would send the password in the clear; use https")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("tls.cert_file: needs tls.key_file, and the reverse")
	}
	if c.TLS != (TLSConfig{}) && schemes["http"] {
		fault("tls: serves https endpoints only")
	}
	for _, d := range []struct {
		name string
		is   time.Duration
	}{
		{"dial_timeout", c.DialTimeout}, {"request_timeout", c.RequestTimeout}, {"check_interval", c.CheckInterval},
		{"retry_min", c.RetryMin}, {"retry_max", c.RetryMax},
	} {
		if d.is < time.Millisecond || d.is > time.Hour {
			fault("%s: must be from 1ms to 1h, is %v", d.name, d.is)
		}
	}
	if c.RetryMax < c.RetryMin {
		fault("retry_max: must be at least retry_min, %v, is %v", c.RetryMin, c.RetryMax)
	}
	if c.MaxValueBytes < 1 || c.MaxValueBytes > mostBytes {
		fault("max_value_bytes: must be from 1 to %d, is %d", mostBytes, c.MaxValueBytes)
	}
	if c.MaxKeys < 1 || c.MaxKeys > mostKeys {
		fault("max_keys: must be from 1 to %d, is %d", mostKeys, c.MaxKeys)
	}
	return errors.Join(faults...)
}

// shorten keeps what others wrote from filling a log.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
