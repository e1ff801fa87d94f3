//go:build race

package pool

// racing says that sync.Pool forgets some of what it is given, on purpose.
const racing = true
