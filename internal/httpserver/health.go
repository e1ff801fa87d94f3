package httpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// maxReadyWait bounds ?wait= of /readyz.
const maxReadyWait = 10 * time.Second

// serveLive answers 200 unless the process cannot heal itself.
func (s *Server) serveLive(w http.ResponseWriter, _ *http.Request) {
	if s.deps.Live != nil {
		if err := s.deps.Live(); err != nil {
			writeHealth(w, http.StatusServiceUnavailable, "failed", err.Error())
			return
		}
	}
	writeHealth(w, http.StatusOK, "live", "")
}

// serveReady answers 200 while requests are served. With ?wait=2s it holds its answer for so long while the process is
// still starting: a prober that asks once a second, as a kubelet does, else hears of readiness up to a second late.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if text := r.URL.Query().Get("wait"); text != "" && s.deps.Started != nil {
		wait, err := time.ParseDuration(text)
		if err != nil || wait < 0 || wait > maxReadyWait {
			writeHealth(w, http.StatusBadRequest, "unknown", fmt.Sprintf("wait: %.40q is no duration from 0s to %v", text, maxReadyWait))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		s.deps.Started(ctx)
		cancel()
	}
	state, ok := "Ready", true
	if s.deps.Ready != nil {
		state, ok = s.deps.Ready()
	}
	if s.draining.Load() {
		state, ok = "Draining", false
	}
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	writeHealth(w, status, state, "")
}

func writeHealth(w http.ResponseWriter, status int, state, cause string) {
	body, _ := json.Marshal(struct { // two strings cannot fail
		State string `json:"state"`
		Error string `json:"error,omitempty"`
	}{state, cause})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a prober that has gone is not our fault
}
