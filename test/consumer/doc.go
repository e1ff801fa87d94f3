// Package consumer tests what somebody gets who imports the kit and the adapters from outside, without
// this repository's replace lines. It holds tests only.
package consumer
