package cluster

import "errors"

var (
	// ErrRunning: the folder's cluster runs; there is one a folder.
	ErrRunning = errors.New("the cluster runs already; end it with `cluster down`, or name another folder")
	// ErrNotRunning: there is none to attach to.
	ErrNotRunning = errors.New("no cluster runs there; start one with `cluster up`")
	// ErrImpossible: the machine lacks what a cluster needs; the error says what, all of it.
	ErrImpossible = errors.New("a cluster cannot run here")
)
