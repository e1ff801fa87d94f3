// Package reload keeps what a server reads from files up to date: bearer tokens and certificates, that are changed while
// it runs. What cannot be loaded is logged, and the old stays in use.
//
// It is for a few small files that are looked at every two seconds, not for folders or for what must be noticed at once.
//
//	files := reload.Files{Log: log}
//	err := files.Load("tokens_file", load, path) // and again whenever it changes, while Run runs
//	files.Run(stop)
package reload
