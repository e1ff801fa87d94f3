// Package hardening says at start which C library the binary is linked to, and in hardened mode refuses to start in
// an environment that changes the process behind the back of its configuration.
//
// Variables such as LD_PRELOAD have the loader put code of somebody else into a process; GODEBUG takes safeguards of
// Go's standard library back. Whoever may set a variable of a pod could so change what an image does that was built,
// signed and scanned with care. Hardened mode makes of that a process that does not start, and says why.
//
// It is no sandbox: code that the loader was told to run has run before main. A static binary, which has no loader,
// ignores all but Go's own variables; the refusal then tells of an attempt, or of a mistake. Do not use it to judge
// values of the configuration, which is the work of whoever owns them.
//
// At the start of a process, before anything is opened:
//
//	cfg := hardening.DefaultConfig() // off
//	cfg.Enabled = true
//	if err := hardening.Start(cfg, log); errors.Is(err, hardening.ErrRefused) {
//		return err // names each variable, and what to do
//	}
package hardening
