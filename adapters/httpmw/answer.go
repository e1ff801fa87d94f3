package httpmw

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// answer notes what a handler answers. It is a Flusher, Hijacker, StringWriter and ReaderFrom, for handlers that
// ask for these; http.ResponseController reaches the rest. What the writer beneath lacks answers
// http.ErrNotSupported.
type answer struct {
	w       http.ResponseWriter
	status  int // 0 until it is sent
	refused bool
	taken   bool // the connection, by the handler
}

// watch returns a writer that notes, the one that is there already if there is one.
func watch(w http.ResponseWriter) *answer {
	if a, ok := w.(*answer); ok {
		return a
	}
	return &answer{w: w}
}

func (a *answer) Header() http.Header { return a.w.Header() }

// Unwrap lets http.ResponseController reach the rest.
func (a *answer) Unwrap() http.ResponseWriter { return a.w }

func (a *answer) WriteHeader(status int) {
	a.w.WriteHeader(status) // may panic, and nothing was sent then
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
}

func (a *answer) begin() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.begin()
	return a.w.Write(p)
}

// WriteString is what io.WriteString looks for.
func (a *answer) WriteString(s string) (int, error) {
	a.begin()
	return io.WriteString(a.w, s)
}

// ReadFrom keeps sendfile.
func (a *answer) ReadFrom(src io.Reader) (int64, error) {
	if rf, ok := a.w.(io.ReaderFrom); ok {
		a.begin()
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{a}, src)
}

// Flush implements http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() }

// FlushError sends what is buffered.
func (a *answer) FlushError() error {
	a.begin()
	return http.NewResponseController(a.w).Flush()
}

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(a.w).Hijack()
	if err == nil {
		a.taken = true
		if a.status == 0 {
			a.status = http.StatusSwitchingProtocols
		}
	}
	return c, rw, err
}
