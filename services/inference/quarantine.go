package inference

import (
	"net/http"

	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// quarantinedInput is an input that killed workers of a version.
type quarantinedInput struct {
	Version string `json:"version"`
	supervisor.Quarantined
}

// listQuarantine is GET /v1/models/{model}/quarantine.
func (s *Service) listQuarantine(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Quarantine []quarantinedInput `json:"quarantine"`
	}{Quarantine: []quarantinedInput{}}
	err := s.eachPool(r.PathValue("model"), func(v *served) {
		for _, q := range v.pool.Quarantined() {
			answer.Quarantine = append(answer.Quarantine, quarantinedInput{v.Name, q})
		}
	})
	if err != nil {
		s.answerProblem(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// releaseQuarantined is DELETE /v1/models/{model}/quarantine/{reference}: the input is tried again when it comes again.
func (s *Service) releaseQuarantined(w http.ResponseWriter, r *http.Request) {
	reference, released := r.PathValue("reference"), false
	err := s.eachPool(r.PathValue("model"), func(v *served) {
		if v.pool.Release(reference) {
			released = true
			s.deps.Log.Warn("released from quarantine", "error_code", "quarantine_released", "model", v.Model, "version", v.Name, "reference", reference)
		}
	})
	switch {
	case err != nil:
		s.answerProblem(w, err)
	case !released:
		problem.Write(w, &problem.Problem{Status: http.StatusNotFound, Code: CodeNotQuarantined, Detail: "no input of that reference is in quarantine"})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// eachPool visits the versions of a model that workers serve.
func (s *Service) eachPool(model string, visit func(*served)) error {
	loaded := s.models.Load()
	if loaded == nil {
		return notReady(s.state)
	}
	m, err := loaded.Model(model)
	if err != nil {
		return err
	}
	for _, v := range m.Versions {
		if served := loaded.served[v]; served.pool != nil {
			visit(served)
		}
	}
	return nil
}
