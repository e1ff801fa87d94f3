// Package etcd is a source of live configuration: values in etcd that take effect while a process runs, with the
// last good one in force whenever etcd is away.
//
// A [Source] reads the keys below a prefix and then follows them. It knows nothing of what the values mean: a
// binding gives it a function that decodes one and a function that applies it. A value that does not decode or is
// not taken is reported, and the one in force stays. So it does when etcd is unreachable, hangs, is restored from
// an old copy or comes back empty. With Config.Cache it stays across restarts of the process too.
//
// [WatchFaults] has etcd be a source of fault rules, and of a kill switch that nothing refuses. [WithFaults] gives the
// source fault points of its own.
//
// Do not use it for data that requests read or write, for locks or for leases: it is made for a few hundred small
// values that people change. Nor for what must change at the same moment in all processes: each applies a value
// when it hears of it.
//
//	source, err := etcd.New(config)
//	// … check err, then, for /dougong/breaker/policies/search:
//	err = etcd.Watch(source, "breaker/policies/search", breaker.ParsePolicy, group.SetPolicy)
//	// … check err, then, on a goroutine that the caller waits for:
//	err = source.Run(ctx)
package etcd
