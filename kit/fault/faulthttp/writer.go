package faulthttp

import (
	"bufio"
	"net"
	"net/http"

	"github.com/dougong-io/dougong/kit/fault"
)

// writer damages an answer. What is hijacked is not damaged.
type writer struct {
	http.ResponseWriter
	damage fault.Damage
	offset int64
	cut    bool
}

// Write reports success whatever is lost: a server learns of a lost answer late, or never.
func (w *writer) Write(b []byte) (int, error) {
	if w.cut {
		return len(b), nil
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

// Unwrap is what [http.ResponseController] asks for.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is for those who ask for an http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for an http.ResponseController.
func (w *writer) FlushError() error { return http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack is for those who ask for an http.Hijacker; it fails as they do if there is none beneath.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
