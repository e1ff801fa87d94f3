// Package faults holds plans for `dougong prove faults` that come along.
package faults

import "embed"

// Plans are YAML files, named for what they try.
//
//go:embed *.yaml
var Plans embed.FS
