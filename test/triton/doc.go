// Package triton tests the real binary with clients that other people wrote for the Open Inference Protocol: tritonclient,
// perf_analyzer, KServe's SDK, and what reads gRPC reflection. scripts/clients.sh installs them. What they do is in
// clients/, in their own language; the tests start the binary, run that, and look at what it says.
package triton
