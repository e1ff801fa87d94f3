// Package models embeds the demo model repository: real models, trained on real data, with golden
// rows that the library which trained them, or ONNX Runtime, computed. README.md says where they come from.
package models

import "embed"

// Repository is the folder as services/inference/repository reads it: <name>/<version>/model.yaml
// with the model file beside it, and <name>/policy.yaml.
//
//go:embed digits loan-default loan-lite loan-mini
var Repository embed.FS
