package httpserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// responseWriter counts what a handler sends, and replaces the mux's own plain
// text for 404 and 405. It is a Flusher, Hijacker, StringWriter and ReaderFrom;
// http.ResponseController reaches the deadlines and full duplex. A feature that
// the protocol lacks (Hijack on HTTP/2) answers http.ErrNotSupported.
type responseWriter struct {
	w       http.ResponseWriter
	x       *exchange
	status  int // 0 until it is sent
	written int64
	swallow bool // the mux's text after we have answered

	hijacked bool
}

func (w *responseWriter) Header() http.Header { return w.w.Header() }

// Unwrap lets http.ResponseController reach the rest.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.w }

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && w.x.route == nil && w.x.failed == "" {
		switch status {
		case http.StatusNotFound:
			w.x.refuse(status, "not_found", "nothing is served at this path")
			w.swallow = true
			return
		case http.StatusMethodNotAllowed:
			w.x.refuse(status, "method_not_allowed", "this path takes: "+w.Header().Get("Allow"))
			w.swallow = true
			return
		}
	}
	final := w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols)
	if final {
		w.sayClose(status)
	}
	w.w.WriteHeader(status) // may panic, and nothing was sent then
	if final {
		w.status = status
	}
}

// sayClose tells the client of a server that drains to use this connection no
// more. On HTTP/2 net/http makes a graceful GOAWAY of it.
func (w *responseWriter) sayClose(status int) {
	if w.x.srv.draining.Load() && status != http.StatusSwitchingProtocols {
		w.Header().Set("Connection", "close")
	}
}

// ProblemCode notes the code of the problem that is about to be written, for
// the access log. It is what problem.Write looks for.
func (w *responseWriter) ProblemCode(code string) {
	if w.status == 0 {
		w.x.failed = code
		w.Header().Set("X-Request-Id", w.x.ctx.trace.ID()) // finds the log lines
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.before() {
		return len(p), nil
	}
	n, err := w.w.Write(p)
	w.written += int64(n)
	w.after()
	return n, err
}

// WriteString is what io.WriteString looks for.
func (w *responseWriter) WriteString(s string) (int, error) {
	if w.before() {
		return len(s), nil
	}
	n, err := io.WriteString(w.w, s)
	w.written += int64(n)
	w.after()
	return n, err
}

// ReadFrom keeps sendfile: io.Copy of a file ends in net.TCPConn.ReadFrom.
func (w *responseWriter) ReadFrom(src io.Reader) (n int64, err error) {
	rf, ok := w.w.(io.ReaderFrom)
	if !ok || w.x.route != nil && w.x.route.Stream {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	if w.before() {
		return io.Copy(io.Discard, src)
	}
	n, err = rf.ReadFrom(src)
	w.written += n
	return n, err
}

// before prepares for a write, and reports whether it is to be swallowed.
func (w *responseWriter) before() bool {
	if w.swallow {
		return true
	}
	if w.status == 0 {
		w.status = http.StatusOK
		w.sayClose(w.status)
	}
	if w.x.route != nil && w.x.route.Stream {
		w.x.setWriteTimeout(w.x.srv.cfg.WriteTimeout)
	}
	return false
}

// after ends what before began: a stream that is quiet is not late. HTTP/2
// would reset it.
func (w *responseWriter) after() {
	if w.x.route != nil && w.x.route.Stream {
		w.x.setWriteTimeout(0)
	}
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError sends what is buffered.
func (w *responseWriter) FlushError() error {
	if w.before() {
		return nil
	}
	defer w.after()
	switch f := w.w.(type) {
	case interface{ FlushError() error }:
		return f.FlushError()
	case http.Flusher:
		f.Flush()
		return nil
	}
	return http.ErrNotSupported
}

// Hijack hands over the connection, without the server's bookkeeping and with
// exact deadlines: the TCP connection itself, or TLS upon it.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := w.w.(http.Hijacker)
	if !ok {
		return nil, nil, http.ErrNotSupported
	}
	c, rw, err := h.Hijack()
	if err != nil {
		return nil, nil, err
	}
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	w.hijacked = true
	if sc := serverConnOf(c); sc != nil {
		if bare := sc.release(); c == net.Conn(sc) {
			c = bare
		}
	}
	return c, rw, nil
}

// setReadTimeout and setWriteTimeout give a stream time for its next read or
// write; 0 is any time.
func (x *exchange) setReadTimeout(d time.Duration)  { x.setReadDeadline(deadlineIn(d)) }
func (x *exchange) setWriteTimeout(d time.Duration) { x.setWriteDeadline(deadlineIn(d)) }

func deadlineIn(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

func (x *exchange) setReadDeadline(t time.Time) {
	if c, ok := x.w.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = c.SetReadDeadline(t)
	}
}

func (x *exchange) setWriteDeadline(t time.Time) {
	if c, ok := x.w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = c.SetWriteDeadline(t)
	}
}

// requestBody counts and bounds what a handler reads, with the errors of
// http.MaxBytesReader. A body that declares too much is refused at once.
type requestBody struct {
	x        *exchange
	rc       io.ReadCloser
	limit    int64 // 0: none
	left     int64
	declared int64
	read     int64
	err      error
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.limit > 0 && b.declared > b.limit {
		return 0, b.tooLarge()
	}
	if b.x.route.Stream {
		b.x.setReadTimeout(b.x.srv.cfg.ReadTimeout)
		defer b.x.setReadTimeout(0)
	}
	if b.limit > 0 && int64(len(p))-1 > b.left {
		p = p[:b.left+1] // one more, to tell the end from too much
	}
	n, err := b.rc.Read(p)
	if b.limit > 0 && int64(n) > b.left {
		n = int(b.left)
		err = b.tooLarge()
	}
	b.left -= int64(n)
	b.read += int64(n)
	b.err = err
	return n, err
}

// tooLarge also makes net/http close the connection after the answer: to read
// the rest of the body would be what the limit is to prevent. HTTP/2 resets the
// stream alone.
func (b *requestBody) tooLarge() error {
	if b.x.status == 0 && b.x.req.ProtoMajor == 1 {
		b.x.Header().Set("Connection", "close")
	}
	b.err = &http.MaxBytesError{Limit: b.limit}
	return b.err
}

func (b *requestBody) Close() error { return b.rc.Close() }
