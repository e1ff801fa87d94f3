//go:build cgo && asan

package main

// The address sanitiser catches C++ exceptions only if the library for them is there from the start; ONNX Runtime would
// bring it later.

// #cgo LDFLAGS: -Wl,--no-as-needed -lstdc++
import "C"
