package faulthttp

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/dougong-io/dougong/kit/fault"
)

var errGone = fmt.Errorf("faulthttp: %w: the answer was cut off, and the connection ends: %w", fault.ErrInjected, syscall.EPIPE)

// writer damages an answer, or loses it. What is hijacked is neither damaged nor lost.
type writer struct {
	http.ResponseWriter
	damage   fault.Damage
	offset   int64
	begun    bool // there is a status
	bodiless bool // one of an answer without a body
	lost     bool // nothing is sent
	cut      bool // no more is sent
	hijacked bool
}

// begin decides, once, whether the answer is lost.
func (w *writer) begin(status int) {
	if w.begun {
		return
	}
	w.begun = true
	w.lost = w.damage.Dropped()
	w.bodiless = w.bodiless || status == http.StatusSwitchingProtocols || status == http.StatusNoContent || status == http.StatusNotModified
}

// ruined reports whether a handler that is done has left an answer which must not be ended as if it were whole.
func (w *writer) ruined() bool {
	w.begin(http.StatusOK)
	return (w.lost || w.cut) && !w.hijacked
}

func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin(status)
	}
	if w.lost || !w.begun && w.damage.Dropped() { // not begun: it is of what comes before an answer
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write reports success whatever is lost: a server learns of a lost answer late, or never. When the rule has ended
// there is no use in more of it.
func (w *writer) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	if w.lost || w.cut {
		return w.pretend(len(b))
	}
	if w.bodiless {
		return w.ResponseWriter.Write(b)
	}
	left := w.damage.Copy(b, w.offset)
	n, err := w.ResponseWriter.Write(left)
	w.offset += int64(n)
	if err == nil && len(left) < len(b) {
		w.cut = true
		err = http.NewResponseController(w.ResponseWriter).Flush() // what passes must not be cut with the rest
		return len(b), err
	}
	return n, err
}

func (w *writer) pretend(n int) (int, error) {
	if _, cut := w.damage.Cut(); !cut && !w.damage.Dropped() {
		return 0, errGone
	}
	return n, nil
}

// Unwrap is what [http.ResponseController] asks for.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is for those who ask for an http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for an http.ResponseController.
func (w *writer) FlushError() error {
	w.begin(http.StatusOK)
	if w.lost {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is for those who ask for an http.Hijacker; it fails as they do if there is none beneath.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = err == nil
	return conn, rw, err
}
