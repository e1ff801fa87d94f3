//go:build cgo

package cguard

import (
	"errors"
	"sync"
)

// Owner owns the buffers of one call: what it allocated is freed together. It may be used by many goroutines.
type Owner struct {
	heap *Heap

	mu      sync.Mutex
	buffers []*Buffer
	state   ownerState
}

type ownerState uint8

const (
	owning ownerState = iota
	handedOver
	ended
)

var errOwnerEnded = errors.New("cguard: the owner's call has ended, and its buffers with it; a new call needs a new owner")

// Owner begins the ownership of a call's buffers. Hand it to Call, or end it with Free.
func (h *Heap) Owner() *Owner { return &Owner{heap: h} }

// Alloc gives a buffer of n zero bytes, which the owner frees. The error is ErrExhausted, or says that the owner's call
// has ended.
func (o *Owner) Alloc(n int) (*Buffer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == ended {
		return nil, errOwnerEnded
	}
	b, err := o.heap.alloc(n, 3)
	if err == nil {
		o.buffers = append(o.buffers, b)
	}
	return b, err
}

// Free frees what the owner allocated. It panics if a call has the owner, or if it ended before.
func (o *Owner) Free() {
	o.mu.Lock()
	state := o.state
	o.mu.Unlock()
	switch state {
	case handedOver:
		panic("cguard: an owner is freed that was handed to a call, which frees it when it ends")
	case ended:
		panic("cguard: an owner is freed twice")
	}
	o.end()
}

// handOver makes a call the one that ends the owner.
func (o *Owner) handOver() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != owning {
		panic("cguard: an owner is handed to a second call; each call has its own")
	}
	o.state = handedOver
}

func (o *Owner) end() {
	o.mu.Lock()
	buffers := o.buffers
	o.buffers, o.state = nil, ended
	o.mu.Unlock()
	for _, b := range buffers {
		b.Free()
	}
}
