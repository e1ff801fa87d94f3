// Command linked says what it is linked to, and whether it may run: built by the tests with and without cgo.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/dougong-io/dougong/internal/hardening"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	if err := hardening.Start(hardening.Config{Enabled: true}, log); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
