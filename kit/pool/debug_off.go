//go:build !dougong_pooldebug

package pool

import "sync"

// debugging says whether leases are traced and values poisoned.
const debugging = false

// free are the values that wait in a pool.
type free struct{ values sync.Pool }

func (f *free) get() any      { return f.values.Get() }
func (f *free) put(value any) { f.values.Put(value) }

// trace would remember where leases began and ended.
type trace struct{}

func (*trace) got(uint64)                           {}
func (*trace) released(uint64)                      {}
func (*trace) stacks(uint64) (got, released string) { return "", "" }

// leaks would list where what was leaked had been got.
type leaks struct{}

func (*leaks) add(got, released string) {}
func (*leaks) list() []Leak             { return nil }

// guard would find writes to what is released.
type guard struct{}

func (*guard) seal(any)                  {}
func (*guard) broken(any) string         { return "" }
func (*guard) sealBytes([]byte)          {}
func (*guard) brokenBytes([]byte) string { return "" }
