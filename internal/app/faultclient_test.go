package app

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A client that would read the token has made up its mind to send it.
func TestTokensGoToOtherMachinesEncryptedOnly(t *testing.T) {
	token := filepath.Join(t.TempDir(), "none")
	for url, refused := range map[string]bool{
		"http://127.0.0.1:9090": false, "127.0.0.1:9090": false, "http://[::1]:9090": false, "[::1]:9090": false,
		"http://[::ffff:127.0.0.1]:9090": false, "http://localhost:9090": false, "LOCALHOST:9090": false,
		"https://192.0.2.1:9090": false, "HTTPS://admin.example:9090": false,
		"http://192.0.2.1:9090": true, "192.0.2.1:9090": true, "HTTP://192.0.2.1": true, "http://[2001:db8::1]:9090": true, "http://admin.example": true,
		"admin.example:9090/": true, "http://localhost.example:9090": true, "http://127.0.0.1.example": true, "http://127.0.0.1@192.0.2.1": true, "http://0.0.0.0:9090": true,
	} {
		_, err := FaultClient{URL: url, TokenFile: token}.Status(t.Context())
		if errors.Is(err, ErrPlaintextToken) != refused || errors.Is(err, fs.ErrNotExist) == refused {
			t.Errorf("%s: %v", url, err)
		}
		if _, err = (FaultClient{URL: url, TokenFile: token, PlaintextToken: true}).Status(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, allowed: %v", url, err)
		}
	}
	const want = "the token would go to 192.0.2.1 over http, for whoever is on the way to read; use https, or allow it with --plaintext-token if something else encrypts"
	if err := (FaultClient{URL: "192.0.2.1:9090", TokenFile: token}).Kill(t.Context(), true); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := (FaultClient{URL: "http://192.0.2.1 :9090", TokenFile: token}).Clear(t.Context()); err == nil || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
}
