// Package workers has the processes of workers die under load, in every way that is known, and counts what that costs those
// who call. It is the shipped binary, the real ONNX Runtime, and a real null write in C. It holds tests only.
//
//	make chaos-workers    each way 100 times; the soak for half an hour is make nightly's
//
// In make check the same tests have workers die a few times.
package workers
