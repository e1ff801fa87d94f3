package app

import (
	"net/http/httptest"
	"testing"

	"github.com/dougong-io/dougong/internal/auth"
)

func TestTenantIsTheTokensOrElseWhatOneCustomerHas(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:41000":              "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:41000": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::9]:41000": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:41000":         "fe80::/64",
		"[::ffff:192.0.2.7]:41000":     "::ffff:192.0.2.7",
		"@":                            "@", // a unix socket
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = address
		if got := tenantOf(r.Context(), r.RemoteAddr); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		r = r.WithContext(auth.WithIdentity(r.Context(), &auth.Identity{Name: "checkout", Tenant: "shop"}))
		if got := tenantOf(r.Context(), r.RemoteAddr); got != "shop" {
			t.Errorf("%s: %s, want the tenant of the token", address, got)
		}
	}
}
