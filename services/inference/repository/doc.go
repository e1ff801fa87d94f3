// Package repository loads a folder of models and refuses to load one that it cannot vouch for.
//
//	<model>/policy.yaml             which versions are loaded, and which one answers
//	<model>/<version>/model.yaml    inputs by name and order, objective, SHA-256, golden rows
//	<model>/<version>/model.json    the model file that model.yaml names
//
// A version is read once, its bytes are checked against the stated SHA-256, the model is built from
// those same bytes and must reproduce its golden rows: inputs and outputs that the library which
// trained the model computed. A version whose model.yaml states an engine, or whose file is of ONNX, is served by worker
// processes of that engine: nothing of its file is parsed here, and a worker reproduces the golden rows. Only versions that the policy names are loaded: a copy into a folder is
// not a release. What is loaded is immutable, so a Snapshot is safe for concurrent use.
//
//	snapshot, err := repository.Load(ctx, os.DirFS("models"), decodeYAML, repository.DefaultLimits(), nil)
//	version, err := snapshot.Find("loan-default", "")
//	err = version.Predict(answers, rows)
package repository
