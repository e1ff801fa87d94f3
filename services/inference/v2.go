package inference

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/problem"
)

// headerLength is the header of the binary tensor extension: the length of the JSON in front of the tensors.
const headerLength = "Inference-Header-Content-Length"

// extensions are the parts beyond the protocol's core that there are.
var extensions = []string{"binary_tensor_data", "model_configuration", "model_repository", "statistics"}

// v2 answers a route of the Open Inference Protocol over REST.
type v2 func(w http.ResponseWriter, r *http.Request)

func (f v2) ServeHTTP(w http.ResponseWriter, r *http.Request) { f(w, r) }

// WriteProblem is in the protocol's own form, also for what the server refuses before the handler has it.
func (v2) WriteProblem(w http.ResponseWriter, p *problem.Problem) { writeV2Problem(w, p) }

func writeV2Problem(w http.ResponseWriter, p *problem.Problem) {
	message := p.Detail
	if message == "" {
		message = http.StatusText(p.Status)
	}
	body, _ := json.Marshal(struct { // a string cannot fail
		Error string `json:"error"`
	}{message})
	problem.WriteBody(w, p, "application/json", append(body, '\n'))
}

func (s *Service) registerV2(handle func(pattern, role string, handler http.Handler)) {
	handle("GET /v2", "", v2(s.serverMetadata))
	handle("GET /v2/{$}", "", v2(s.serverMetadata))
	handle("GET /v2/health/live", "", v2(s.serverLive))
	handle("GET /v2/health/ready", "", v2(s.serverReady))
	for _, model := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		handle("GET "+model, "read", v2(s.modelMetadata))
		handle("GET "+model+"/ready", "read", v2(s.modelReady))
		handle("GET "+model+"/config", "read", v2(s.modelConfig))
		handle("GET "+model+"/stats", "read", v2(s.modelStats))
		handle("POST "+model+"/infer", "read", v2(s.infer))
	}
	handle("GET /v2/models/stats", "read", v2(s.modelStats))
	handle("/v2/", "", v2(s.nothingHere))
	handle("POST /v2/repository/index", "read", v2(s.repositoryIndex))
	handle("POST /v2/repository/models/{model}/load", "release", v2(s.loadModel))
	handle("POST /v2/repository/models/{model}/unload", "release", v2(s.loadModel))
}

// nothingHere answers what no other route does, in the protocol's own form.
func (s *Service) nothingHere(w http.ResponseWriter, r *http.Request) {
	writeV2Problem(w, &problem.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "nothing is served at this path by this method"})
}

// infer is POST /v2/models/{model}[/versions/{version}]/infer.
func (s *Service) infer(w http.ResponseWriter, r *http.Request) {
	x := s.begin(s.callerOf(r), protocol{kind: overREST, target: pathOf(r), header: -1})
	x.acceptsGzip = s.cfg.CompressFromBytes > 0 && acceptsGzip(r.Header)
	defer x.report()
	err := x.readLength(r.Header)
	if err == nil {
		err = x.serve(w, r)
	}
	if err != nil {
		x.result, x.rows = s.answerV2Error(w, x.refusal(err)), 0
	}
}

// readLength reads the length of the JSON, if the header says that something follows it.
func (x *exchange) readLength(header http.Header) error {
	values := header[headerLength]
	if len(values) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil || len(values) > 1 {
		return malformed("the header %s must be, once, the length in bytes of the JSON before the binary data; it is %.64q", headerLength, values[0])
	}
	x.protocol.header = int(n)
	return nil
}

func pathOf(r *http.Request) wanted {
	w := wanted{model: r.PathValue("model"), version: r.PathValue("version"), hasModel: true}
	w.hasVersion = w.version != ""
	return w
}

// answerV2Error answers with the protocol's error for err.
func (s *Service) answerV2Error(w http.ResponseWriter, err error) Result {
	p, result := s.problem(err)
	writeV2Problem(w, &p)
	return result
}

func (s *Service) serverMetadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{serverName, s.deps.Version, extensions})
}

// serverName is what the server calls itself over both forms of the protocol.
const serverName = "dougong"

func (s *Service) serverLive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Live bool `json:"live"`
	}{true}) // who can answer is alive; /healthz knows what the process cannot heal
}

func (s *Service) serverReady(w http.ResponseWriter, _ *http.Request) {
	state, ready := s.readiness()
	writeJSON(w, statusOf(ready), struct {
		Ready bool   `json:"ready"`
		State string `json:"state"`
	}{ready, state})
}

// readiness is the process's where the service is told it, else its own.
func (s *Service) readiness() (state string, ready bool) {
	if s.deps.Ready != nil {
		return s.deps.Ready()
	}
	own := s.state.State()
	return own.String(), own.Serving()
}

func (s *Service) modelReady(w http.ResponseWriter, r *http.Request) {
	v, err := s.lookUp(pathOf(r))
	if err != nil {
		s.answerV2Error(w, err)
		return
	}
	ready, reason := s.versionReady(v)
	writeJSON(w, statusOf(ready), struct {
		Name   string `json:"name"`
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
	}{v.Model, ready, reason})
}

// versionReady tells whether a version is being served; one whose breaker is open is not.
func (s *Service) versionReady(v *served) (ready bool, reason string) {
	if state, ok := s.readiness(); !ok {
		return false, "the server is " + state
	}
	if v.circuit.Snapshot().State == breaker.Open {
		return false, "too many predictions of this version failed"
	}
	return true, ""
}

func (s *Service) lookUp(w wanted) (*served, error) {
	loaded := s.models.Load()
	if loaded == nil {
		return nil, notReady(s.state)
	}
	return loaded.find(w)
}

func (s *Service) modelMetadata(w http.ResponseWriter, r *http.Request) {
	s.describeVersion(w, r, func(v *served) any {
		m := metadataOf(s.models.Load(), v)
		return &m
	})
}

func (s *Service) modelConfig(w http.ResponseWriter, r *http.Request) {
	s.describeVersion(w, r, func(v *served) any { return configOf(v, s.cfg.MaxRows) })
}

func (s *Service) describeVersion(w http.ResponseWriter, r *http.Request, describe func(*served) any) {
	v, err := s.lookUp(pathOf(r))
	if err != nil {
		s.answerV2Error(w, err)
		return
	}
	writeJSON(w, http.StatusOK, describe(v))
}

// tensorMetadata says what a tensor must be; -1 is any length.
type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

type modelMetadata struct {
	Name       string            `json:"name"`
	Versions   []string          `json:"versions"`
	Platform   string            `json:"platform"`
	Inputs     []tensorMetadata  `json:"inputs"`
	Outputs    []tensorMetadata  `json:"outputs"`
	Properties map[string]string `json:"properties,omitempty"`
}

// platform is what runs our models.
const platform = "dougong_tree"

func metadataOf(loaded *loadedModels, v *served) modelMetadata {
	datatype := v.signature.Datatype.String()
	m := modelMetadata{
		Name: v.Model, Platform: platform,
		Inputs:  []tensorMetadata{{"input", datatype, []int64{-1, int64(v.Features())}}},
		Outputs: []tensorMetadata{{"output", datatype, []int64{-1, int64(v.Outputs())}}},
		Properties: map[string]string{
			"version": v.Name, "format": v.Summary.Format, "objective": v.Summary.Objective, "sha256": v.Manifest.SHA256,
		},
	}
	model, err := loaded.Model(v.Model)
	if err != nil { // a version of a snapshot has its model
		panic(err)
	}
	for _, v := range model.Versions {
		m.Versions = append(m.Versions, v.Name)
	}
	return m
}

// modelConfig is the part of the model configuration extension that applies to a tree.
type modelConfig struct {
	Name          string         `json:"name"`
	Platform      string         `json:"platform"`
	Backend       string         `json:"backend"`
	VersionPolicy map[string]any `json:"version_policy"`
	MaxBatchSize  int            `json:"max_batch_size"`
	Input         []configTensor `json:"input"`
	Output        []configTensor `json:"output"`
}

// configTensor has the shape of a row: the first dimension is the batch's.
type configTensor struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
}

func configOf(v *served, maxRows int) *modelConfig {
	datatype := "TYPE_" + v.signature.Datatype.String()
	return &modelConfig{
		Name: v.Model, Platform: platform, Backend: platform, VersionPolicy: map[string]any{"specific": map[string]any{"versions": []string{v.Name}}}, MaxBatchSize: maxRows,
		Input:  []configTensor{{"input", datatype, []int64{int64(v.Features())}}},
		Output: []configTensor{{"output", datatype, []int64{int64(v.Outputs())}}},
	}
}

// indexLine is a version in the index of the repository.
type indexLine struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// maxIndexBytes is more than asking for the index takes.
const maxIndexBytes = 4096

// repositoryIndex is POST /v2/repository/index.
func (s *Service) repositoryIndex(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Ready bool `json:"ready"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxIndexBytes))
	if err != nil {
		s.answerV2Error(w, readError(r.Context(), err))
		return
	}
	if len(bytes.TrimSpace(body)) > 0 && json.Unmarshal(body, &asked) != nil {
		s.answerV2Error(w, malformed(`the body must be empty or {"ready":true} or {"ready":false}`))
		return
	}
	index, err := s.index(asked.Ready)
	if err != nil {
		s.answerV2Error(w, err)
		return
	}
	writeJSON(w, http.StatusOK, index)
}

// index lists the versions, or only those that are ready.
func (s *Service) index(onlyReady bool) ([]indexLine, error) {
	loaded := s.models.Load()
	if loaded == nil {
		return nil, notReady(s.state)
	}
	index := []indexLine{}
	for _, m := range loaded.Models() {
		for _, v := range m.Versions {
			line := indexLine{Name: m.Name, Version: v.Name, State: "READY"}
			ready, reason := s.versionReady(loaded.served[v])
			if !ready {
				line.State, line.Reason = "UNAVAILABLE", reason
			}
			if ready || !onlyReady {
				index = append(index, line)
			}
		}
	}
	return index, nil
}

// modelStats is GET /v2/models/stats and GET /v2/models/{model}[/versions/{version}]/stats.
func (s *Service) modelStats(w http.ResponseWriter, r *http.Request) {
	lines, err := s.statistics(pathOf(r))
	if err != nil {
		s.answerV2Error(w, err)
		return
	}
	writeJSON(w, http.StatusOK, statsAnswer{lines})
}

func (s *Service) statistics(of wanted) ([]versionStats, error) {
	loaded := s.models.Load()
	if loaded == nil {
		return nil, notReady(s.state)
	}
	return loaded.statsOf(of)
}

// loadModel is POST /v2/repository/models/{model}/load and unload.
func (s *Service) loadModel(w http.ResponseWriter, r *http.Request) {
	_, err := s.lookUp(wanted{model: r.PathValue("model"), hasModel: true})
	if err == nil {
		err = errNoReload
	}
	s.answerV2Error(w, err)
}

var errNoReload = &badRequest{code: CodeNotImplemented, status: http.StatusNotImplemented,
	msg: "models are loaded when the service starts; put the version into the repository, name it in policy.yaml, and restart"}

func statusOf(ready bool) int {
	if ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}
