package live

import (
	"os"
	"runtime"

	"golang.org/x/term"

	"github.com/dougong-io/dougong/prove/load"
)

// Options say what a View shows above its figures, and on what. The zero value redraws 80 × 24 cells without colour.
type Options struct {
	Title    string // first on the first line; empty is "dougong load"
	Target   string
	Protocol load.Protocol
	Loop     load.Loop

	Plain bool                       // a line a second, without any escape code
	Color bool                       // 256 colours; never in Plain
	Size  func() (width, height int) // of the terminal, in cells, asked before each frame; nil is 80 × 24
}

// Detect returns the options that fit what f is: Plain unless it is a terminal that can move its cursor, Color unless
// the environment has NO_COLOR (no-color.org). getenv is os.Getenv, or a test's own.
func Detect(f *os.File, getenv func(string) string) Options {
	fd := int(f.Fd())
	kind := getenv("TERM")
	// Windows sets no TERM; its terminals understand the codes since Windows 10.
	able := kind != "dumb" && (kind != "" || runtime.GOOS == "windows")
	return Options{
		Plain: !able || !term.IsTerminal(fd),
		Color: getenv("NO_COLOR") == "",
		Size: func() (int, int) {
			width, height, err := term.GetSize(fd)
			if err != nil {
				return 0, 0
			}
			return width, height
		},
	}
}

// size asks for the size, with a usual one where it is not known.
func (o *Options) size() (width, height int) {
	if o.Size != nil {
		width, height = o.Size()
	}
	if width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}
