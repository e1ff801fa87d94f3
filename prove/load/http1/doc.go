// Package http1 reads HTTP/1.1 responses (RFC 9112) from the bytes of a connection as they come, for a client that
// measures: it checks status line, field lines, framing and lengths as a strict client must, keeps only what is asked
// for, and allocates nothing once its buffers have grown. It sends nothing and knows no connection.
//
//	r := http1.Reader{MaxHeader: 64 << 10, MaxBody: 1 << 20, KeepBody: true}
//	r.Begin(false)
//	for !done {
//		n, _ := conn.Read(buf)
//		used, done, err = r.Feed(buf[:n])
//	}
//
// It is no general client: for anything but measuring, take net/http.
package http1
