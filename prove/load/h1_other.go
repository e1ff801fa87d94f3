//go:build !unix

package load

import "net"

const rawReads = false

func (l *h1) serveRaw(bool) { panic("load: no raw reads on this system") }

func writeNow(int, []byte) int { return 0 }

func hungUp(net.Conn) bool { return false }
