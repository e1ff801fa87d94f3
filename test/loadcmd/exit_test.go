package loadcmd

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// free is an address on which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExitCodesOfRuns(t *testing.T) {
	t.Parallel()
	url, plan := good(t), certain(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string // on standard output or standard error
	}{
		{"no objective", []string{url, "--rate", "100"}, 0, "no objective was given"},
		{"every objective held", []string{url, "--rate", "200", "--slo", "p99<4s", "--slo", "errors<=0%", "--slo", "rate>1"}, 0, "PASS"},
		{"an objective did not hold", []string{url, "--rate", "100", "--slo", "p50<1ns"}, 1, "an objective did not hold"},
		{"failures are bad answers too", []string{url, "--rate", "100", "--check", "body == bad", "--slo", "errors<1%"}, 1, `found "good"`},
		{"too few requests", []string{url, "--rate", "50", "--slo", "p99.9<4s"}, 3, "50 requests are too few; it takes 1000"},
		{"a failure outweighs too few", []string{url, "--rate", "50", "--slo", "p99.9<4s", "--slo", "p50<1ns"}, 1, "an objective did not hold"},
		{"closed loop", []string{url, "--users", "4", "--think", "5ms"}, 0, "closed loop"},
		{"target down", []string{"http://" + free(t), "--rate", "100"}, 1, "the target cannot be loaded"},
		{"no TLS there", []string{strings.Replace(url, "http:", "https:", 1), "--rate", "100"}, 1, "TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := load(t, append(c.args, "--plan", plan, "--for", "1s")...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("exit code %d, want %d and %q", code, c.code, c.says)
			}
			if c.code != 0 && !strings.Contains(stderr, "dougong: ") {
				t.Error("standard error does not say why")
			}
		})
	}
}

// TestLateGeneratorGivesNoVerdict: with a bound that no machine keeps, every second is late.
func TestLateGeneratorGivesNoVerdict(t *testing.T) {
	t.Parallel()
	plan := write(t, "late.yaml", "late_after: 1ns\nslo: [p50<1ns]\n")
	code, stdout, _ := load(t, good(t), "--plan", plan, "--rate", "100", "--for", "1s")
	if code != 3 || !strings.Contains(stdout, "INCONCLUSIVE") || !strings.Contains(stdout, "the generator was late") {
		t.Errorf("exit code %d", code)
	}
}

func TestMistakesEndBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	var connected atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connected.Add(1)
		}
	}
	server.Start()
	url := server.URL
	t.Cleanup(func() {
		server.Close()
		if n := connected.Load(); n > 0 {
			t.Errorf("the target was connected to %d times", n)
		}
	})
	rows := filepath.Join(root(t), "examples/data/loan-mini/cases.csv")
	noFile := filepath.Join(t.TempDir(), "none")
	bad := write(t, "bad.yaml", "connection: 3\n")
	const remote = "http://192.0.2.1/" // RFC 5737: nobody is there
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"unknown flag", []string{url, "--rat", "5"}, []string{"unknown flag: --rat"}},
		{"two targets", []string{url, url, "--rate", "5"}, []string{"at most 1"}},
		{"no target", []string{"--rate", "5"}, []string{"no target"}},
		{"no load", []string{url}, []string{"no load", "--rate", "--search"}},
		{"two loads", []string{url, "--rate", "5", "--users", "5"}, []string{"--rate and --users"}},
		{"no rate", []string{url, "--rate", "fast"}, []string{`"fast" is no rate`}},
		{"rate above its ceiling", []string{url, "--rate", "1000001"}, []string{"1000000"}},
		{"length above its ceiling", []string{url, "--rate", "5", "--for", "25h"}, []string{"24h"}},
		{"connections above their ceiling", []string{url, "--rate", "5", "-c", "100001"}, []string{"connections", "100000"}},
		{"steps that lead nowhere", []string{url, "--steps", "200:-10/1s:300"}, []string{"never lead"}},
		{"search without objective", []string{url, "--search", "50:100"}, []string{"at least one objective"}},
		{"unknown column", []string{url, "--rate", "5", "--rows", rows, "--body", "{{int_rat}}"}, []string{"int_rat", "did you mean int_rate?"}},
		{"check that is none", []string{url, "--rate", "5", "--check", "json $..a == 1"}, []string{"$..a"}},
		{"rows that are not there", []string{url, "--rate", "5", "--rows", noFile}, []string{"rows", noFile}},
		{"body that is not there", []string{url, "--rate", "5", "--body-file", noFile}, []string{noFile}},
		{"plan that is not there", []string{url, "--plan", noFile}, []string{noFile}},
		{"plan with an unknown key", []string{url, "--plan", bad}, []string{"bad.yaml:1:1: connection: unknown key"}},
		{"report into a folder that is not there", []string{url, "--rate", "5", "--json", filepath.Join(noFile, "r.json")}, []string{noFile}},
		{"objective that is none", []string{url, "--rate", "5", "--slo", "speed<5ms"}, []string{`"speed" is no figure`}},
		{"objective that nothing can hold", []string{url, "--rate", "5", "--slo", "rate>5"}, []string{"never asks for more than 5"}},
		{"objective that nothing can break", []string{url, "--rate", "5", "--slo", "p99<6s"}, []string{"can never be broken"}},
		{"streams of HTTP/1.1", []string{url, "--rate", "5", "--streams", "2"}, []string{"one request at a time"}},
		{"remote host", []string{remote, "--rate", "5"}, []string{"192.0.2.1", "not loopback"}},
		{"remote host, allowed only", []string{remote, "--rate", "5", "--allow-remote"}, []string{"--confirm 192.0.2.1"}},
		{"remote host, confirmed only", []string{remote, "--rate", "5", "--confirm", "192.0.2.1"}, []string{"not loopback"}},
		{"remote host, another confirmed", []string{remote, "--rate", "5", "--allow-remote", "--confirm", "192.0.2.2"}, []string{"--confirm 192.0.2.1"}},
		{"remote host, by a plan alone", []string{remote, "--rate", "5", "--plan", write(t, "remote.yaml", "allow_remote: 192.0.2.1\n")}, []string{"not loopback"}},
		{"report of nothing", []string{"report", write(t, "r.json", "{}")}, []string{"nothing to write"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := load(t, c.args...)
			if code != 2 || stdout != "" {
				t.Errorf("exit code %d, want 2 and an empty standard output", code)
			}
			for _, want := range c.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("standard error lacks %q", want)
				}
			}
		})
	}
}

// TestMistakeLeavesTheOldReport: a run that does not begin neither empties a report nor leaves files beside it.
func TestMistakeLeavesTheOldReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "r.json")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := load(t, "http://"+free(t), "--rate", "5", "--json", file, "--csv", filepath.Join(dir, "r.csv")); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "old" {
		t.Errorf("the report is %q, %v", data, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// TestRemoteHostThatWasAllowedAndConfirmedIsLoaded: an address of this machine that is not loopback.
func TestRemoteHostThatWasAllowedAndConfirmedIsLoaded(t *testing.T) {
	t.Parallel()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			continue
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		server.Listener.Close()
		server.Listener = l
		server.Start()
		defer server.Close()
		code, stdout, _ := load(t, server.URL, "--allow-remote", "--confirm", ip.IP.String(), "--plan", certain(t), "--rate", "50", "--for", "1s")
		if code != 0 || !strings.Contains(stdout, "due 50   good 50") {
			t.Errorf("exit code %d", code)
		}
		return
	}
	t.Skip("this machine has no address but loopback")
}
