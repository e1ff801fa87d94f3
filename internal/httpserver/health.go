package httpserver

import (
	"encoding/json"
	"net/http"
)

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

// serveReady answers 200 while requests are served.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
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
