//go:build cgo

// Command dougong-onnx-worker computes models of the format onnx with ONNX Runtime, for an inference service that
// starts it and speaks package wire's protocol with it. It exists to be killed: what ONNX Runtime does to its memory
// and its threads, it does to this process.
//
// It is built with cgo, apart from cmd/dougong, which is not. The library is no part of it: docs/onnx-worker.md tells
// where it is looked for, and the options of a model. It cannot be used by hand; to look at one,
//
//	dougong worker check --model digits.onnx --format onnx --cases cases.json -- dougong-onnx-worker
package main
