package loopback_test

import (
	"net"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/loopback"
)

func TestHostIsThisMachineOnlyByAddressOrLocalhost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "LocalHost": true,
		"127.0.0.1": true, "127.1.2.3": true, "::1": true, "0:0:0:0:0:0:0:1": true, "::1%lo": true, "::ffff:127.0.0.1": true, "::FFFF:7f00:1": true,
		"": false, "0.0.0.0": false, "::": false, "128.0.0.1": false, "10.0.0.1": false, "::2": false, "fe80::1%lo": false, "::ffff:10.0.0.1": false,
		"localhoſt": false, "localhost.": false, "localhost.test": false, "a.localhost": false, "127.0.0.1.test": false, "127.1": false, "127.0.0.01": false, "2130706433": false,
		"[::1]": false, "127.0.0.1:80": false, " localhost": false,
	} {
		if got := loopback.Host(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// FuzzHost: what the standard library's other parser takes for an address is judged alike, and no other name is this
// machine but localhost.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "::1%lo", "example.test", ""} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		bare, _, _ := strings.Cut(host, "%") // that parser knows no zones
		address := net.ParseIP(bare)
		want := address != nil && address.IsLoopback() || strings.ToLower(host) == "localhost"
		if got := loopback.Host(host); got && !want || want && !got && bare == host {
			t.Errorf("%q: %v", host, got)
		}
	})
}
