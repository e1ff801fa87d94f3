// Package worker is what a worker written in Go needs: it speaks the protocol of package wire with the service that
// started the process, and leaves the computing to an [Engine]. docs/worker-protocol.md is the protocol.
//
// A worker exists so that native code may crash, hang or leak without taking the service with it. An engine in Go
// does not need one: it runs in the service.
//
//	func main() {
//		os.Exit(worker.Serve(engine{}, worker.Options{Name: "my-worker", Build: "v1.0.0", Engine: "libmine 3.1"}))
//	}
//
// Each lane is a goroutine that blocks in read(2) on its socket, not in Go's poller: that is one system call and one
// wake-up less per message. Heartbeats and cancellation come on a goroutine of their own. Frames are read into memory
// that the engine gave ([Lane].Buffer), so a native library can compute on them in place.
//
// A panic of the engine in a call is that call's failure, and is logged; a crash in C ends the process, which is what
// the service expects of it.
package worker
