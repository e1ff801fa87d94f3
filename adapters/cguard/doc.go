//go:build cgo

// Package cguard is for Go programs that call C: memory of C with one owner, and calls into C that let their caller go
// at its deadline.
//
// # The rule
//
// A buffer belongs to the call that allocated it, and is freed exactly once, by its owner. C may hold a pointer into it
// until the call has ended in C, and no longer. So:
//
//   - Who allocates, frees: a Buffer, or all that an Owner has allocated, in one place, with defer where it can be.
//   - A call that its caller has left still owns its buffers, and frees them when it ends, not before.
//   - What is in a buffer leaves it as a copy. A slice of Bytes is not kept.
//   - What C allocated, C frees: nothing here frees a pointer that it did not allocate.
//   - Nothing is freed by the garbage collector. It counts and reports what was forgotten, which is a fault to be mended.
//
// A second Free, and the use of a Buffer after it, panic in Go, before C sees the pointer. What C does with a pointer
// that it kept, only the address sanitiser finds: run the tests of what calls C with go test -asan.
//
// # Use
//
//	heap := cguard.NewHeap()
//	calls, err := cguard.NewCalls(cguard.DefaultConfig())
//	...
//	owner := heap.Owner()
//	in, err := owner.Alloc(len(row)) // and copy row into in.Bytes()
//	sum, err := cguard.Call(ctx, calls, owner, func() (float64, error) { return sumInC(in), nil })
//
// # When not
//
// Where a crash of the C code must not end the process, this does not help: run it in a worker, a process of its own.
// A call that never ends holds its thread for ever; of these at most Config.Threads come to be, then callers are
// refused. And Call hands its work to another goroutine, which costs some microseconds: a worker whose supervisor
// releases the callers calls C directly and takes only the memory from here.
package cguard
