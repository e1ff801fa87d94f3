// Package e2e tests Dougong from outside: it builds the binary, runs it as a process of its own, speaks
// to its ports, and sends it signals. It holds tests only.
package e2e
