// Package etcd holds adapters/etcd against a real etcd in a process of its own, which is killed, hangs, comes back,
// and comes back empty. It holds tests only.
package etcd
