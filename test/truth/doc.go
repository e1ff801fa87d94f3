// Package truth tests that prove/load tells the truth, against targets of which the truth is known beforehand: one
// that stalls at a known time, and one that can do a known number of requests a second.
//
// `go test` makes short runs; DOUGONG_LONG=1 makes those that the figures in docs/load.md come from: 20 s with a stall
// of 1 s at 5000 requests a second.
package truth
