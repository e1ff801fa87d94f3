package inference

import (
	"encoding/json"
	"net/http"

	"github.com/dougong-io/dougong/services/inference/repository"
)

type modelAnswer struct {
	Name     string          `json:"name"`
	Serving  string          `json:"serving"`
	Versions []versionAnswer `json:"versions"`
}

type versionAnswer struct {
	Version     string   `json:"version"`
	Description string   `json:"description,omitempty"`
	Format      string   `json:"format"`
	Library     string   `json:"library,omitempty"`
	Engine      string   `json:"engine,omitempty"` // whose workers serve it
	Objective   string   `json:"objective,omitempty"`
	SHA256      string   `json:"sha256"`
	Trees       int      `json:"trees,omitempty"`
	Outputs     int      `json:"outputs"`
	Inputs      []string `json:"inputs,omitempty"` // only when one model is asked for
}

// listModels is GET /v1/models.
func (s *Service) listModels(w http.ResponseWriter, r *http.Request) {
	loaded := s.models.Load()
	if loaded == nil {
		s.answerProblem(w, notReady(s.state))
		return
	}
	answer := struct {
		Models []modelAnswer `json:"models"`
	}{Models: []modelAnswer{}}
	for _, m := range loaded.Models() {
		answer.Models = append(answer.Models, describe(m, false))
	}
	writeJSON(w, http.StatusOK, answer)
}

// describeModel is GET /v1/models/{model}.
func (s *Service) describeModel(w http.ResponseWriter, r *http.Request) {
	loaded := s.models.Load()
	if loaded == nil {
		s.answerProblem(w, notReady(s.state))
		return
	}
	m, err := loaded.Model(r.PathValue("model"))
	if err != nil {
		s.answerProblem(w, err)
		return
	}
	writeJSON(w, http.StatusOK, describe(m, true))
}

func describe(m *repository.Model, inputs bool) modelAnswer {
	answer := modelAnswer{Name: m.Name, Serving: m.Serving.Name}
	for _, v := range m.Versions {
		line := versionAnswer{
			Version: v.Name, Description: v.Manifest.Description, Format: v.Summary.Format, Library: v.Summary.Library, Engine: v.Engine(),
			Objective: v.Summary.Objective, SHA256: v.Manifest.SHA256, Trees: v.Summary.Trees, Outputs: v.Outputs(),
		}
		if inputs {
			line.Inputs = v.Manifest.Inputs
		}
		answer.Versions = append(answer.Versions, line)
	}
	return answer
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil { // the types above always marshal
		panic(err)
	}
	w.Header()["Content-Type"] = jsonContentType
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
