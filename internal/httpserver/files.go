package httpserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
)

// watchEvery is how soon a changed certificate or tokens file is noticed.
const watchEvery = 2 * time.Second

// watchFiles loads certificates and tokens again when their files change. What
// cannot be loaded is logged, and the old stays in use.
func (s *Server) watchFiles(stop <-chan struct{}) {
	type watched struct {
		name  string
		paths []string
		load  func() error
		last  string
	}
	var all []*watched
	if s.tls != nil {
		all = append(all, &watched{name: "tls", paths: []string{s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile, s.cfg.TLS.ClientCAFile}, load: s.tls.load})
	}
	if s.cfg.TokensFile != "" {
		all = append(all, &watched{name: "tokens_file", paths: []string{s.cfg.TokensFile}, load: s.loadTokens})
	}
	if len(all) == 0 {
		return
	}
	for _, w := range all {
		w.last = fingerprint(w.paths)
	}
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		for _, w := range all {
			now := fingerprint(w.paths)
			if now == w.last {
				continue
			}
			w.last = now
			if err := w.load(); err != nil {
				s.log.Error("changed file not loaded, the old stays in use", slog.String("what", w.name), slog.Any("error", err), slog.String("error_code", "reload_failed"))
				continue
			}
			s.log.Info("changed file loaded", slog.String("what", w.name))
		}
	}
}

// fingerprint changes when a file is written or replaced.
func fingerprint(paths []string) (sum string) {
	for _, p := range paths {
		if p == "" {
			continue
		}
		st, err := os.Stat(p)
		if err != nil {
			sum += "?"
			continue
		}
		sum += fmt.Sprintf("%d %d;", st.ModTime().UnixNano(), st.Size())
	}
	return sum
}

func (s *Server) loadTokens() error {
	tokens, err := auth.Load(s.cfg.TokensFile)
	if err != nil {
		return err
	}
	if open, err := auth.TooOpen(s.cfg.TokensFile); err == nil && open {
		s.log.Warn("everyone on this machine can access the tokens file: chmod 600 it", slog.String("file", s.cfg.TokensFile))
	}
	s.tokens.Store(tokens)
	return nil
}

// certificates holds the TLS configuration for the next handshake.
type certificates struct {
	cfg     TLSConfig
	current atomic.Pointer[tls.Config]
}

func (c *certificates) load() error {
	cert, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("cert_file: %w", err)
	}
	conf := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tlsVersions[c.cfg.MinVersion],
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if c.cfg.ClientCAFile != "" {
		pem, err := os.ReadFile(c.cfg.ClientCAFile)
		if err != nil {
			return fmt.Errorf("client_ca_file: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return errors.New("client_ca_file: no certificate in " + c.cfg.ClientCAFile)
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.current.Store(conf)
	return nil
}

// serverConfig asks for the current configuration at each handshake.
func (c *certificates) serverConfig() *tls.Config {
	conf := c.current.Load().Clone()
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }
	return conf
}
