//go:build !unix

package fault

import (
	"errors"
	"os"
)

const noFollow = 0

func ownedByUs(*os.File) error { return nil } // lockFile refuses it

func lockFile(*os.File) error {
	return errors.New("this system has no lock that ends with its process, without which a run cannot be undone safely")
}
