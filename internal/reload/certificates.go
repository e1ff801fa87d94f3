package reload

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// Certificates are the TLS configuration for the next handshake, from PEM files.
type Certificates struct {
	CertFile, KeyFile string
	ClientCAFile      string // "": clients need no certificate
	MinVersion        uint16
	Protocols         []string // for ALPN

	current atomic.Pointer[tls.Config]
}

// Load reads the files.
func (c *Certificates) Load() error {
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return fmt.Errorf("cert_file: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: c.MinVersion, NextProtos: c.Protocols}
	if c.ClientCAFile != "" {
		pem, err := os.ReadFile(c.ClientCAFile)
		if err != nil {
			return fmt.Errorf("client_ca_file: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return errors.New("client_ca_file: no certificate in " + c.ClientCAFile)
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.current.Store(conf)
	return nil
}

// ServerConfig asks for the current configuration at each handshake.
func (c *Certificates) ServerConfig() *tls.Config {
	conf := c.current.Load().Clone()
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }
	return conf
}
