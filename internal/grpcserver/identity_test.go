package grpcserver

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/internal/auth"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

func writeTokens(t *testing.T) (path string, plain map[auth.Role]string) {
	t.Helper()
	path, plain = filepath.Join(t.TempDir(), "tokens.json"), map[auth.Role]string{}
	for _, role := range auth.Roles() {
		plaintext, entry, err := auth.Create(string(role), "acme", role)
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.AppendTo(path, entry); err != nil {
			t.Fatal(err)
		}
		plain[role] = plaintext
	}
	return path, plain
}

func withToken(token string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
}

func TestTokensAndRoles(t *testing.T) {
	who := make(chan *auth.Identity, 1)
	svc := inference(func(ctx context.Context, _ *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		who <- auth.IdentityFrom(ctx)
		return &inferencepb.ModelReadyResponse{}, nil
	})
	svc.Method = func(string) Method { return Method{Role: auth.Write} }
	cfg := testConfig()
	path, plain := writeTokens(t)
	cfg.TokensFile = path
	r := start(t, cfg, Deps{}, svc)
	cc := r.dial(t)
	wantCode(t, ask(context.Background(), cc), codes.Unauthenticated, "role write")
	wantCode(t, ask(withToken("dg_nobody"), cc), codes.Unauthenticated, "role write")
	wantCode(t, ask(metadata.AppendToOutgoingContext(withToken(plain[auth.Write]), "authorization", "Bearer x"), cc), codes.Unauthenticated, "")
	wantCode(t, ask(withToken(plain[auth.Read]), cc), codes.PermissionDenied, "does not hold the role write")
	if err := ask(withToken(plain[auth.Write]), cc); err != nil {
		t.Fatal(err)
	}
	if i := <-who; i == nil || i.Name != "write" || i.Tenant != "acme" {
		t.Errorf("identity %+v", i)
	}
	r.stop()
	if !strings.Contains(r.access.String(), `"caller":"write","tenant":"acme"`) || strings.Contains(r.access.String(), plain[auth.Write]) {
		t.Errorf("logged %s", r.access)
	}

	open := inference(isReady)
	free := start(t, cfg, Deps{}, open)
	if err := ask(context.Background(), free.dial(t)); err != nil {
		t.Error("a method without role:", err)
	}
}

func TestRolesWithoutTokensAreOpenOnLoopbackOnly(t *testing.T) {
	svc := inference(isReady)
	svc.Method = func(string) Method { return Method{Role: auth.Write} }
	cfg := testConfig()
	if err := ask(context.Background(), start(t, cfg, Deps{}, svc).dial(t)); err != nil {
		t.Error(err)
	}
	cfg.Listen = "0.0.0.0:0"
	wantCode(t, ask(context.Background(), start(t, cfg, Deps{}, svc).dial(t)), codes.PermissionDenied, "tokens_file")
}

// plainHTTP2 is a client that can leave a message unfinished.
func plainHTTP2(t *testing.T) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// begin sends the header of a call and the beginning of a message, and returns the status that it gets all the same.
func begin(t *testing.T, r *running, method string, part []byte, header ...string) (status, message string) {
	t.Helper()
	body, feed := io.Pipe()
	defer feed.Close()
	go feed.Write(part)
	req, err := http.NewRequest("POST", "http://"+r.addr+method, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := plainHTTP2(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	if res.Header.Get("Grpc-Status") != "" {
		return res.Header.Get("Grpc-Status"), res.Header.Get("Grpc-Message")
	}
	return res.Trailer.Get("Grpc-Status"), res.Trailer.Get("Grpc-Message")
}

var halfMessage = []byte{0, 0, 0, 0, 6, 10, 4, 'l'}

func TestMessageOfACallerWithoutTokenIsNeverRead(t *testing.T) {
	svc := inference(isReady)
	svc.Method = func(string) Method { return Method{Role: auth.Write} }
	cfg := testConfig()
	cfg.TokensFile, _ = writeTokens(t)
	cfg.RequestTimeout = time.Hour
	r := start(t, cfg, Deps{}, svc)
	if code, message := begin(t, r, readyMethod, halfMessage); code != "16" {
		t.Errorf("status %s, %s", code, message)
	}
	if o := r.seen.wait(t, readyMethod, 1)[0]; o.BytesIn != 0 {
		t.Errorf("outcome %+v", o)
	}
}

func TestHalfAMessageHoldsNoCallBeyondItsTime(t *testing.T) {
	cfg := testConfig()
	cfg.RequestTimeout = 100 * time.Millisecond
	r := start(t, cfg, Deps{}, inference(isReady))
	if code, message := begin(t, r, readyMethod, halfMessage); code != "4" {
		t.Errorf("status %s, %s", code, message)
	}
	if o := r.seen.wait(t, readyMethod, 1)[0]; o.Code != codes.DeadlineExceeded {
		t.Errorf("outcome %+v", o)
	}
	if n := len(r.InFlight()); n != 0 {
		t.Errorf("%d calls in flight", n)
	}
}

func TestExpiredTimeoutIsRefusedAndCounted(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	if code, message := begin(t, r, readyMethod, halfMessage, "Grpc-Timeout", "0n"); code != "4" {
		t.Errorf("status %s, %s", code, message)
	}
	if o := r.seen.wait(t, readyMethod, 1)[0]; o.Code != codes.DeadlineExceeded {
		t.Errorf("outcome %+v", o)
	}
	if code, _ := begin(t, r, readyMethod, halfMessage, "Grpc-Timeout", "soon"); code == "0" {
		t.Errorf("a malformed timeout: status %s", code)
	}
}
