package loopback

import (
	"net/netip"
	"strings"
)

// Host tells whether a host, without port and brackets as url.URL.Hostname and net.SplitHostPort return it, is this
// machine: an address of 127.0.0.0/8 or ::1, also as IPv4 in IPv6, or localhost in any case (RFC 6761, section 6.3).
// Another name may point anywhere tomorrow, so it is not, and neither is the empty host, which a listener takes for
// every address. Nothing is resolved, and Host may be called concurrently.
func Host(host string) bool {
	const name = "localhost"
	if len(host) == len(name) && strings.EqualFold(host, name) { // of as many bytes: there is an s beyond ASCII
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
