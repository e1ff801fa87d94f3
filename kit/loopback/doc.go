// Package loopback tells whether a host is this machine: for what is open to its own users alone, for tokens that may travel
// without TLS, and for load and faults that must not leave it by mistake.
//
//	if u.Scheme != "https" && !loopback.Host(u.Hostname()) {
//		return fmt.Errorf("the token would go to %s for whoever is on the way to read", u.Host)
//	}
//
// Do not use it to tell who calls: what comes from loopback may be a proxy on this machine that speaks for others, or a
// page in a browser.
package loopback
