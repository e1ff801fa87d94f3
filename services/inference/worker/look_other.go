//go:build !linux

package worker

// look finds nothing where it is not known how to.
func (socket) look([]byte) int { return 0 }
