package grpcserver

import (
	"context"
	"runtime"
	"testing"
)

// TestSilentConnectionIsCheap: so many may be open that each one counts.
func TestSilentConnectionIsCheap(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	first := dialFrames(t, r.addr)
	first.WriteSettingsAck()
	before := heap()
	const n = 200
	for range n {
		f := dialFrames(t, r.addr)
		f.until(t, isSettings)
		f.WriteSettingsAck()
	}
	if each := (heap() - before) / n; each > 40<<10 {
		t.Errorf("a silent connection costs %d bytes, with its client", each)
	} else {
		t.Logf("a silent connection costs %d bytes, with its client", each)
	}
	if err := ask(context.Background(), r.dial(t)); err != nil {
		t.Error(err)
	}
}
