package load

import (
	"bufio"
	"bytes"
	"net"
)

// sink is a connection to nowhere.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }
func (sink) Close() error                { return nil }

func reader(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }
