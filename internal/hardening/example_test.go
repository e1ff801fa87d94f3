package hardening_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/dougong-io/dougong/internal/hardening"
)

func ExampleStart() {
	os.Setenv("GODEBUG", "x509sha1=1")
	defer os.Unsetenv("GODEBUG")

	cfg := hardening.DefaultConfig()
	cfg.Enabled = true
	err := hardening.Start(cfg, slog.New(slog.DiscardHandler))
	if refused, ok := errors.AsType[*hardening.RefusedError](err); ok {
		fmt.Println(refused.Variables)
	}
	// Output: [GODEBUG]
}
