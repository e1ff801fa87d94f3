package product

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDemoServesThroughAPortForward does what docs/kubernetes.md tells a newcomer to do.
func TestDemoServesThroughAPortForward(t *testing.T) {
	c := start(t)
	apply(t, c, demo)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	forward := c.Command(ctx, "kubectl", "-n", "dougong", "port-forward", "deployment/dougong-inference", "8080", "9090")
	out, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); forward.Wait() }()
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatal("the port-forward ended")
		}
		if strings.Contains(lines.Text(), "127.0.0.1:9090") { // the last of them
			break
		}
	}
	client := inside(t, c)
	call := func(method, url, body, token string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return ask(t, client, r)
	}
	const url = "http://127.0.0.1:8080/v1/predict"
	if code, body := call("POST", url, `{"model":"loan-mini","input":[0.1,0.9]}`, token); code != 200 || strings.TrimSpace(body) != `{"model":"loan-mini","version":"1","output":[0.03645608]}` {
		t.Errorf("%d %s", code, body)
	}
	if code, body := call("POST", url, `{"model":"loan-mini","input":[0.1,0.9]}`, ""); code != 401 {
		t.Errorf("without a token: %d %s", code, body)
	}
	if code, body := call("GET", "http://127.0.0.1:9090/statusz", "", token); code != 200 || !strings.Contains(body, "loan-mini") {
		t.Errorf("%d %s", code, body)
	}
}
