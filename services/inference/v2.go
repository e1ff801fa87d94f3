package inference

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/services/inference/oip"
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
	get := func(path, role string, h v2) {
		handle("GET "+path, role, h)
		handle(path, "", wrongMethod("GET, HEAD"))
	}
	post := func(path, role string, h v2) {
		handle("POST "+path, role, h)
		handle(path, "", wrongMethod("POST"))
	}
	get("/v2", "", s.serverMetadata)
	get("/v2/{$}", "", s.serverMetadata)
	get("/v2/health/live", "", s.serverLive)
	get("/v2/health/ready", "", s.serverReady)
	get("/v2/models", "read", s.modelNames)
	for _, model := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		get(model, "read", s.modelMetadata)
		get(model+"/ready", "read", s.modelReady)
		get(model+"/config", "read", s.modelConfig)
		get(model+"/stats", "read", s.modelStats)
		post(model+"/infer", "read", s.infer)
	}
	handle("GET /v2/models/stats", "read", v2(s.modelStats)) // other methods: those of /v2/models/{model}
	post("/v2/repository/index", "read", s.repositoryIndex)
	post("/v2/repository/models/{model}/load", "release", s.noReload(errNoLoad))
	post("/v2/repository/models/{model}/unload", "release", s.noReload(errNoUnload))
	handle("/v2/", "", v2(s.nothingHere))
}

// wrongMethod answers a path that is asked by a method which it does not take.
func wrongMethod(allowed string) v2 {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		writeV2Problem(w, &problem.Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: "this path takes: " + allowed})
	}
}

// nothingHere answers what no other route does, in the protocol's own form.
func (s *Service) nothingHere(w http.ResponseWriter, r *http.Request) {
	writeV2Problem(w, &problem.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "nothing is served at this path"})
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

// versionReady tells whether a version is being served, and why not, or not to all. One whose breaker is open is not
// ready; one that is coming back is: who takes away the calls of what is not ready would keep it from doing so.
func (s *Service) versionReady(v *served) (ready bool, reason string) {
	// A core model that is away takes the server's readiness, and not that of the other models.
	if state, ok := s.readiness(); !ok && !(state == lifecycle.Failed.String() && s.open.Load()) {
		return false, "the server is " + state
	}
	if v.pool != nil {
		switch state, why := v.state(); {
		case state == lifecycle.Failed:
			return false, why.Error()
		case state == lifecycle.Degraded:
			return true, fmt.Sprintf("%s answers for it: %v", v.fallback.named[0], why)
		case state == lifecycle.Recovering:
			return true, fmt.Sprintf("it is coming back; %s answers the rest of the calls", v.fallback.named[0])
		}
	}
	switch c := v.circuit.Snapshot(); c.State {
	case breaker.Open:
		if v.fallback != nil {
			return true, fmt.Sprintf("%s answers for it: too many predictions of this version failed", v.fallback.named[0])
		}
		return false, "too many predictions of this version failed"
	case breaker.HalfOpen:
		return true, "too many predictions of this version failed; a few calls find out whether it works again"
	case breaker.Rising:
		return true, fmt.Sprintf("this version failed and is coming back: %.3g %% of the calls are served", 100*c.Share)
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
		m := s.models.Load().metadataOf(v, pathOf(r))
		return &m
	})
}

func (s *Service) modelConfig(w http.ResponseWriter, r *http.Request) {
	s.describeVersion(w, r, func(v *served) any { return s.models.Load().configOf(v, s.cfg.MaxRows) })
}

// modelNames is GET /v2/models, as KServe has it.
func (s *Service) modelNames(w http.ResponseWriter, _ *http.Request) {
	loaded := s.models.Load()
	if loaded == nil {
		s.answerV2Error(w, notReady(s.state))
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Models []string `json:"models"`
	}{loaded.Names()})
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

// platform is what runs a version, in Triton's words where it has one.
func (v *served) platform() (platform, backend string) {
	switch v.Engine() {
	case "":
		return "dougong_tree", "dougong_tree"
	case "onnx":
		return "onnxruntime_onnx", "onnxruntime"
	}
	return "dougong_worker", "dougong_worker"
}

// tensors are the names of a version's tensors.
func (v *served) tensors() (input, output string) {
	return cmp.Or(v.signature.Input, oip.InputName), cmp.Or(v.signature.Output, oip.OutputName)
}

// metadataOf lists the version that was asked for, or else all that are served.
func (m *loadedModels) metadataOf(v *served, w wanted) modelMetadata {
	datatype := v.signature.Datatype.String()
	platform, _ := v.platform()
	input, output := v.tensors()
	metadata := modelMetadata{
		Name: v.Model, Platform: platform, Versions: []string{v.Name},
		Inputs:  []tensorMetadata{{input, datatype, []int64{-1, int64(v.Features())}}},
		Outputs: []tensorMetadata{{output, datatype, []int64{-1, int64(v.Outputs())}}},
		Properties: map[string]string{
			"version": v.Name, "format": v.Summary.Format, "sha256": v.Manifest.SHA256,
		},
	}
	if v.Engine() == "" {
		metadata.Properties["objective"] = v.Summary.Objective
	} else {
		metadata.Properties["engine"] = v.Engine()
	}
	if !w.hasVersion {
		metadata.Versions = m.versionsOf(v)
	}
	return metadata
}

// versionsOf are the names of all versions of the model of one.
func (m *loadedModels) versionsOf(v *served) (names []string) {
	model, err := m.Model(v.Model)
	if err != nil { // a version of a snapshot has its model
		panic(err)
	}
	for _, v := range model.Versions {
		names = append(names, v.Name)
	}
	return names
}

// modelConfig is the part of the model configuration extension that applies to a tree.
type modelConfig struct {
	Name          string         `json:"name"`
	Platform      string         `json:"platform"`
	Backend       string         `json:"backend"`
	VersionPolicy versionPolicy  `json:"version_policy"`
	MaxBatchSize  int            `json:"max_batch_size"`
	Input         []configTensor `json:"input"`
	Output        []configTensor `json:"output"`
}

// versionPolicy says which versions are served.
type versionPolicy struct {
	Specific struct {
		Versions []string `json:"versions"`
	} `json:"specific"`
}

// configTensor has the shape of a row: the first dimension is the batch's.
type configTensor struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
}

func (m *loadedModels) configOf(v *served, maxRows int) *modelConfig {
	datatype := "TYPE_" + v.signature.Datatype.String()
	platform, backend := v.platform()
	input, output := v.tensors()
	c := &modelConfig{
		Name: v.Model, Platform: platform, Backend: backend, MaxBatchSize: maxRows,
		Input:  []configTensor{{input, datatype, []int64{int64(v.Features())}}},
		Output: []configTensor{{output, datatype, []int64{int64(v.Outputs())}}},
	}
	c.VersionPolicy.Specific.Versions = m.versionsOf(v)
	return c
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

// noReload answers POST /v2/repository/models/{model}/load and unload.
func (s *Service) noReload(err error) v2 {
	return func(w http.ResponseWriter, r *http.Request) { s.answerV2Error(w, err) }
}

var (
	errNoLoad   = notImplemented("put the version into the repository, name it in policy.yaml, and restart")
	errNoUnload = notImplemented("take the version out of policy.yaml, and restart")
)

func notImplemented(instead string) error {
	return &badRequest{code: CodeNotImplemented, status: http.StatusNotImplemented, msg: "models are loaded when the service starts; " + instead}
}

func statusOf(ready bool) int {
	if ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}
