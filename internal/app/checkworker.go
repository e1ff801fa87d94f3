package app

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dougong-io/dougong/services/inference"
	"github.com/dougong-io/dougong/services/inference/workercheck"
)

// WorkerCheck says which worker is held against the protocol, and with what.
type WorkerCheck struct {
	Command []string          // the program and its arguments
	Model   string            // path of the model file
	Format  string            // of it; "": the ending of its name
	Cases   string            // path of a file of inputs and outputs
	Options map[string]string // for the worker
	Log     func(line string) // gets what the worker prints; nil: nobody does
}

// WorkerRule is what one check found.
type WorkerRule struct {
	Name   string `json:"name"`
	Why    string `json:"why"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	TookMS int64  `json:"took_ms"`
}

// CheckWorker starts a worker as the service would, and holds it against each rule of the protocol. report is called for each
// as it is known. The error says that the worker could not be checked; rules that it breaks are none.
func CheckWorker(ctx context.Context, c WorkerCheck, report func(WorkerRule)) (broken int, err error) {
	data, err := os.ReadFile(c.Model)
	if err != nil {
		return 0, err
	}
	file, err := os.Open(c.Cases)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	cases, err := workercheck.ReadCases(file)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.Cases, err)
	}
	results, err := workercheck.Run(ctx, workercheck.Command{Path: c.Command[0], Args: c.Command[1:], Env: inference.Engine{}.Environment(os.Environ()), Log: c.Log}, workercheck.Model{
		Format: cmp.Or(c.Format, strings.TrimPrefix(filepath.Ext(c.Model), ".")), Data: data, Options: c.Options, Cases: cases,
	}, func(r workercheck.Result) {
		report(WorkerRule{Name: r.Name, Why: r.Why, OK: r.Verdict == workercheck.Pass, Detail: r.Detail, TookMS: r.Took.Round(time.Millisecond).Milliseconds()})
	})
	return len(workercheck.Failures(results)), err
}
