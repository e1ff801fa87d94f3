// Package pool keeps values and byte buffers for the next one who needs them, so that a hot path allocates nothing,
// and makes the mistakes that come with that impossible or loud.
//
// What is got is a lease, not a pointer: Release ends it, and a lease that has ended panics when it is used or
// released again, by whatever goroutine, also if the value has gone to somebody else meanwhile. A value goes back to
// where it came from, so it cannot be put into the wrong pool. It is reset on the way, or does not compile. What is
// kept is bounded in bytes; the garbage collector takes what is not used, as it does from a sync.Pool.
//
// With -tags dougong_pooldebug leases remember the stacks of their Get and Release and misuse panics with both; what
// is released is poisoned, and a write to it afterwards is found when it is next got; what was never released is
// listed by Leaks, with the stack of its Get.
//
// Do not use it for what is cheap to make: a lease costs about as much as a small allocation. Nor for connections or
// files, which must be closed: the garbage collector takes values without a word.
//
//	values, err := pool.New(func() *encoder { return new(encoder) }, pool.DefaultConfig()) // *encoder has Reset()
//	lease := values.Get()
//	defer lease.Release()
//	lease.Value().Encode(x)
//
//	buffer := buffers.Get(4096) // of pool.NewBuffers(pool.DefaultBuffersConfig())
//	defer buffer.Release()
//	buffer.SetBytes(strconv.AppendInt(buffer.Bytes(), n, 10))
package pool
