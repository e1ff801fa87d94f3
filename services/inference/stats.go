package inference

import (
	"sync/atomic"
	"time"
)

// stats counts what a version has done since it was loaded.
type stats struct {
	last      atomic.Int64 // Unix milliseconds; 0: nothing yet
	rows      atomic.Uint64
	good, bad atomic.Uint64 // requests
	goodNS    atomic.Uint64 // all that were answered, together
	badNS     atomic.Uint64
	queueNS   atomic.Uint64
	inputNS   atomic.Uint64
	inferNS   atomic.Uint64
	outputNS  atomic.Uint64
}

// count counts an exchange that ended.
func (s *stats) count(x *exchange) {
	add := func(to *atomic.Uint64, took time.Duration) { to.Add(uint64(max(took, 0))) }
	if x.result != OK {
		add(&s.badNS, x.took)
		s.bad.Add(1)
		return
	}
	s.last.Store(x.start.Add(x.took).UnixMilli())
	s.rows.Add(uint64(x.rows))
	add(&s.goodNS, x.took)
	add(&s.queueNS, x.queued)
	add(&s.inputNS, x.parsed)
	add(&s.inferNS, x.scored)
	add(&s.outputNS, x.computed-x.parsed-x.scored)
	s.good.Add(1)
}

// statsAnswer is the answer to GET /v2/models/stats, in the form of the statistics extension.
type statsAnswer struct {
	ModelStats []versionStats `json:"model_stats"`
}

type versionStats struct {
	Name           string         `json:"name"`
	Version        string         `json:"version"`
	LastInference  int64          `json:"last_inference"`
	InferenceCount uint64         `json:"inference_count"` // rows
	ExecutionCount uint64         `json:"execution_count"` // requests
	InferenceStats inferenceStats `json:"inference_stats"`
	BatchStats     []struct{}     `json:"batch_stats"`
}

type inferenceStats struct {
	Success       durationStats `json:"success"`
	Fail          durationStats `json:"fail"`
	Queue         durationStats `json:"queue"`
	ComputeInput  durationStats `json:"compute_input"`
	ComputeInfer  durationStats `json:"compute_infer"`
	ComputeOutput durationStats `json:"compute_output"`
	CacheHit      durationStats `json:"cache_hit"` // there is no cache
	CacheMiss     durationStats `json:"cache_miss"`
}

type durationStats struct {
	Count uint64 `json:"count"`
	NS    uint64 `json:"ns"`
}

func (v *served) picture() versionStats {
	s := &v.stats
	good := s.good.Load() // once: clients expect that the parts of a request are counted equally often
	part := func(ns *atomic.Uint64) durationStats { return durationStats{good, ns.Load()} }
	return versionStats{
		Name: v.Model, Version: v.Name, LastInference: s.last.Load(), InferenceCount: s.rows.Load(), ExecutionCount: good,
		InferenceStats: inferenceStats{
			Success: part(&s.goodNS), Fail: durationStats{s.bad.Load(), s.badNS.Load()}, Queue: part(&s.queueNS),
			ComputeInput: part(&s.inputNS), ComputeInfer: part(&s.inferNS), ComputeOutput: part(&s.outputNS),
		},
		BatchStats: []struct{}{},
	}
}

// statsOf are those of all versions, of a model's, or of one.
func (m *loadedModels) statsOf(w wanted) ([]versionStats, error) {
	all := []versionStats{}
	models := m.Models()
	switch {
	case w.version != "" && w.model == "":
		return nil, malformed("name is missing: version %.64q is that of a model", w.version)
	case w.version != "":
		v, err := m.find(w)
		if err != nil {
			return nil, err
		}
		return append(all, v.picture()), nil
	case w.model != "":
		one, err := m.Model(w.model)
		if err != nil {
			return nil, err
		}
		models = models[:0:0]
		models = append(models, one)
	}
	for _, one := range models {
		for _, v := range one.Versions {
			all = append(all, m.served[v].picture())
		}
	}
	return all, nil
}
