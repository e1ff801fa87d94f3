package grpcserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
)

// watchEvery is how soon a changed certificate or tokens file is noticed.
const watchEvery = 2 * time.Second

// watched is a group of files that are loaded together.
type watched struct {
	name  string
	paths []string
	load  func() error
	last  []fs.FileInfo // from before the last load
	wrong string        // why that failed, "" if it did not
}

// loadAndWatch loads the files, and lets watchFiles look whether they change from now on. What changes while they are
// read is thus noticed.
func (s *Server) loadAndWatch(name string, load func() error, paths ...string) error {
	s.watched = append(s.watched, &watched{name: name, paths: paths, load: load, last: stat(paths)})
	return load()
}

// watchFiles loads certificates and tokens again when their files change. What cannot be loaded is logged, and the old
// stays in use.
func (s *Server) watchFiles(stop <-chan struct{}) {
	if len(s.watched) == 0 {
		return
	}
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		for _, w := range s.watched {
			s.look(w)
		}
	}
}

// look loads the files again if they changed, or if they could not be loaded when they did: what was wrong may have
// been none of what stat shows, such as who may read them.
func (s *Server) look(w *watched) {
	now := stat(w.paths)
	same := slices.EqualFunc(now, w.last, sameContent)
	if same && w.wrong == "" {
		return
	}
	w.last = now
	if err := w.load(); err != nil {
		if !same || w.wrong != err.Error() { // once
			s.log.Error("changed file not loaded, the old stays in use", slog.String("what", w.name), slog.Any("error", err), slog.String("error_code", "reload_failed"))
		}
		w.wrong = err.Error()
		return
	}
	w.wrong = ""
	s.log.Info("changed file loaded", slog.String("what", w.name))
}

// stat returns what is known of the files, nil for those that are not there.
func stat(paths []string) []fs.FileInfo {
	all := make([]fs.FileInfo, len(paths))
	for i, p := range paths {
		if p != "" {
			all[i], _ = os.Stat(p)
		}
	}
	return all
}

// sameContent is false when a file was written, replaced, made or removed.
func sameContent(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
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
	cfg     httpserver.TLSConfig
	current atomic.Pointer[tls.Config]
}

func (c *certificates) load() error {
	cert, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("cert_file: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if c.cfg.MinVersion == "1.3" {
		conf.MinVersion = tls.VersionTLS13
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
