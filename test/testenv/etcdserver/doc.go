// Package etcdserver runs a real etcd for tests, in a process of its own, so that it can be killed, stopped and
// started again on the same ports and data. It is apart from testenv so that other tests do not compile etcd.
//
// The process is the test binary run again. So TestMain begins with
//
//	if etcdserver.IsChild() {
//		os.Exit(etcdserver.Serve())
//	}
package etcdserver
