// Package app is the composition root: the only place that knows every service, every adapter and both
// servers, and hands the ones to the others. Its lists are explicit; nothing registers itself.
//
// Nothing but the command line imports it, and it holds no business logic.
//
//	a, err := app.New(app.DefaultConfig(), app.Services(), os.Stderr)
//	// … check err, then:
//	err = a.Run(ctx, func() { fmt.Print(a.Welcome()) })
package app
