package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMain refuses to be the program: a plan that starts its own process would start these tests again, and those the
// next.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		fmt.Fprintln(os.Stderr, "these are the tests, not dougong:", os.Args)
		os.Exit(exitUsage)
	}
	os.Exit(m.Run())
}
