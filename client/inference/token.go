package inferenceclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	tokenFor      = 10 * time.Second // until the file is read again
	maxTokenBytes = 64 << 10
)

// tokenFile is a token that somebody else renews. No error of it holds the token.
type tokenFile struct {
	path string

	mu    sync.Mutex
	token string
	read  time.Time
}

func (f *tokenFile) get(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token != "" && time.Since(f.read) < tokenFor {
		return f.token, nil
	}
	token, err := readToken(f.path)
	switch {
	case err == nil:
		f.token = token
	case f.token == "":
		return "", err
	}
	f.read = time.Now() // a token that was good is kept while the file cannot be read
	return f.token, nil
}

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTokenBytes+1))
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	if len(data) > maxTokenBytes {
		return "", fmt.Errorf("token: %s is larger than %d bytes", path, maxTokenBytes)
	}
	return strings.TrimSpace(string(data)), nil
}

var errBadToken = errors.New("token: is empty or has characters that a header cannot carry")
