// Package cli is the command line: it reads flags and files, calls internal/app, and turns errors into
// exit codes. It knows no service.
//
//	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
package cli
