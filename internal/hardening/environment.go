package hardening

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// ErrRefused is what every [RefusedError] is.
var ErrRefused = errors.New("refused in hardened mode")

// RefusedError names the variables of the environment that hardened mode refuses. It does not repeat their values.
type RefusedError struct {
	Variables []string // in the order of the list in docs/image.md
	found     []variable
}

// Error has a line for each variable.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.found))
	for i, v := range e.found {
		lines[i] = fmt.Sprintf("hardened mode: %s is set, which %s; %s", v.name, v.does, v.instead)
	}
	return strings.Join(lines, "\n")
}

// Is makes it ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// variable is one that changes a process from outside.
type variable struct{ name, does, instead string }

const (
	unset     = "unset it where the process is started (in a pod: env and envFrom)"
	unsetOrGo = "unset it, and put what you need of it into a build of your own (//go:debug in its main package)"
)

// refused are the variables of the loaders of glibc and musl and of the Go runtime that load code, redirect where code
// comes from, write files somewhere, or take back safeguards. Those that tune (GOMEMLIMIT, GOGC, GOMAXPROCS) or that
// point to certificates (SSL_CERT_FILE) are for whoever runs the process.
var refused = []variable{
	{"LD_PRELOAD", "has the loader put that code into the process", unset},
	{"LD_AUDIT", "has the loader run that code on each of its steps", unset},
	{"LD_LIBRARY_PATH", "has the loader take libraries from there", unset},
	{"LD_ORIGIN_PATH", "has the loader take libraries from there", unset},
	{"LD_DEBUG", "has the loader write what it does", unset},
	{"LD_DEBUG_OUTPUT", "has the loader write a file there", unset},
	{"LD_PROFILE", "has the loader count calls and write a file", unset},
	{"LD_PROFILE_OUTPUT", "has the loader write a file there", unset},
	{"LD_DYNAMIC_WEAK", "lets libraries replace functions that they could not replace otherwise", unset},
	{"GLIBC_TUNABLES", "changes how glibc loads, allocates and checks", unset},
	{"GCONV_PATH", "has glibc load converters from there", unset},
	{"GODEBUG", "can take back safeguards of Go's standard library, of TLS and certificates among others", unsetOrGo},
	{"GOCOVERDIR", "has a build with coverage write files there", unset},
}

// judge lists the variables of an environment that are refused. An empty value does nothing, in the loaders and in
// Go, and is how a manifest takes back what it inherits.
func judge(environ []string) []variable {
	var found []variable
	for _, v := range refused {
		if slices.ContainsFunc(environ, func(e string) bool {
			name, value, _ := strings.Cut(e, "=")
			return name == v.name && value != ""
		}) {
			found = append(found, v)
		}
	}
	return found
}

func names(found []variable) []string {
	list := make([]string, len(found))
	for i, v := range found {
		list[i] = v.name
	}
	return list
}

// processEnvironment is that of now and, as far as the kernel shows it, that of the start: code that was preloaded
// often takes its variable out of the environment, so that nobody sees it and no child inherits it.
func processEnvironment() []string {
	environ := os.Environ()
	if first, err := os.ReadFile("/proc/self/environ"); err == nil {
		environ = append(environ, strings.Split(string(first), "\x00")...)
	}
	return environ
}
