// Package testenv is what tests share that look at dougong from outside: the binary, built once as it is shipped, and
// care that no process outlives its tests. It is for tests alone.
package testenv
