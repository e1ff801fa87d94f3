package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version that the next release will have.
const release = "0.1.0-dev"

// number is the version of this build alone.
func number() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			return v
		}
	}
	return release
}

// Version is one line about this build.
func Version() string {
	version, revision, modified := number(), "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = fmt.Sprintf(", commit %.12s", s.Value)
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " with changes"
			}
		}
	}
	return fmt.Sprintf("dougong %s (%s, %s/%s%s%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, revision, modified)
}
