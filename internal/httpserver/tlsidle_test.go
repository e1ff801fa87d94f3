package httpserver

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestConnectionThatNeverAskedMakesRoom: one that was opened and sends nothing is no reason to turn others away.
func TestConnectionThatNeverAskedMakesRoom(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConnections = 1
	r := start(t, cfg, Deps{}, nil)
	silent, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	for end := time.Now().Add(4 * time.Second); ; { // before read_header_timeout ends the silent one anyway
		answer, err := client.Get(r.url + "/healthz")
		if err == nil {
			answer.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestHandshakeAloneDoesNotHoldUpTheStop: browsers and pools open connections in advance.
func TestHandshakeAloneDoesNotHoldUpTheStop(t *testing.T) {
	authority := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = authority.issue(t, t.TempDir(), 1)
	r := start(t, cfg, Deps{}, nil)
	conn, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: authority.pool, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	r.cancel()
	err = <-r.ended
	r.ended <- err
	if took := time.Since(began); took > 4*time.Second { // net/http alone waits until the connection is 5 s old
		t.Errorf("the stop took %v", took)
	}
}
