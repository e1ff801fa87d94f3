// Package faulttest is what tests of fault points share: a set whose rules need no expiry, and the proof that every
// point that a package declares is tripped by name.
//
// It is for tests alone.
package faulttest
