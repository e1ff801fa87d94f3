package hardening

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
)

// asProcess makes the test binary a process that starts in hardened mode, as the tests of the environment need.
const asProcess = "HARDENING_TEST_PROCESS"

func TestMain(m *testing.M) {
	if mode := os.Getenv(asProcess); mode != "" {
		if err := Start(Config{Enabled: mode == "hardened"}, slog.New(slog.NewJSONHandler(os.Stdout, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
