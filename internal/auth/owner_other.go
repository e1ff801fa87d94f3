//go:build !unix

package auth

import (
	"io/fs"
	"os"
)

// keepOwner does nothing: the directory decides who owns its files.
func keepOwner(*os.File, fs.FileInfo, fs.FileInfo) error { return nil }
