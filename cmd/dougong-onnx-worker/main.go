//go:build cgo

package main

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/dougong-io/dougong/services/inference/worker"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	os.Exit(worker.Serve(newEngine(log), worker.Options{Name: "dougong-onnx-worker", Build: build(), Engine: engineName(), Log: log}))
}

// build is the version that the program was built from.
func build() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
