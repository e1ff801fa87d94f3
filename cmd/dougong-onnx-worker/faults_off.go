//go:build cgo && !nativefaults

package main

import "github.com/dougong-io/dougong/services/inference/wire"

// poison does nothing here; see faults_on.go.
type poison struct{}

func newPoison() poison { return poison{} }

func (poison) strike(*wire.Call) {}
