package faultnet

import (
	"io"
	"net"
	"syscall"
)

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.Conn }

// ReadFrom sends files without copying them, if the connection beneath can and nothing may strike.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if beneath, ok := c.Conn.(io.ReaderFrom); ok && !c.points.Write.On() {
		n, err := beneath.ReadFrom(r)
		if err != nil && c.cut.Load() {
			err = c.failed("write", errCut)
		}
		return n, err
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// WriteTo is ReadFrom in the other direction.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	if beneath, ok := c.Conn.(io.WriterTo); ok && !c.points.Read.On() {
		n, err := beneath.WriteTo(w)
		if err != nil && c.cut.Load() {
			err = c.failed("read", errCut)
		}
		return n, err
	}
	return io.Copy(w, struct{ io.Reader }{c})
}

// CloseWrite ends what is sent.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		err := half.CloseWrite()
		if err == nil {
			c.shut.Store(true)
		}
		return err
	}
	return errCannot
}

// CloseRead ends what is taken.
func (c *conn) CloseRead() error {
	if half, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return half.CloseRead()
	}
	return errCannot
}

// SetLinger says what becomes of bytes that are not sent yet when the connection is closed.
func (c *conn) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return errCannot
}

// SyscallConn gives the socket to who needs its options.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if socket, ok := c.Conn.(syscall.Conn); ok {
		raw, err := socket.SyscallConn()
		if err != nil {
			return nil, err
		}
		return struct{ syscall.RawConn }{raw}, nil // through all of it os.File.WriteTo would write past the point
	}
	return nil, errCannot
}
