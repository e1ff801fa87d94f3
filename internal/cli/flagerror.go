package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/kit/spelling"
)

// flagError is the error of a wrong flag, with the one that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w%s\nrun '%s --help' for what it takes", err, flagsFor(cmd, err), cmd.CommandPath())}
}

// flagUsage finds flags in what cobra says of them, which cli may import and the package of flags below it not.
var flagUsage = regexp.MustCompile(`(?m)^ +(?:-\w, |    )--([a-z0-9-]+)`)

// flagsFor is the end of a message about a flag that there is not: the one that is spelt like it, or else all that there
// are, since the same thing has another name in other programs.
func flagsFor(cmd *cobra.Command, err error) string {
	var unknown interface{ GetSpecifiedName() string }
	if !errors.As(err, &unknown) || !strings.HasPrefix(err.Error(), "unknown ") {
		return ""
	}
	var names []string
	for _, found := range flagUsage.FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		if found[1] != "help" { // of which the next line tells
			names = append(names, found[1])
		}
	}
	if near := spelling.Nearest(unknown.GetSpecifiedName(), names); near != "" && strings.HasPrefix(err.Error(), "unknown flag") {
		return "; did you mean --" + near + "?"
	}
	if len(names) == 0 {
		return "; it takes none"
	}
	return "; there are --" + strings.Join(names, ", --")
}
